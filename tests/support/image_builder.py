"""A builder of images without a daemon, and a base image, for tests: buildah in a chroot, Debian by debootstrap.

Both are used as the machine has them. Where it has none and is a Debian with apt, their packages are unpacked into a folder of the test:
nothing is installed. Needs root, as every builder without user namespaces does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAMS = ("buildah", "debootstrap")
SUITE = "trixie"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps what a machine trusts beside the usual authorities."""
SECONDS = 1500
BASE = "localhost/runner-base"


@cache
def mirrors() -> dict[str, str]:
    """Build arguments with the mirrors that this machine's apt uses; skips the test where it uses none of Debian's.

    They serve packages of today: the snapshots that an image is really built from are no mirrors.
    """
    if not shutil.which("apt-get"):
        pytest.skip("this machine has no apt, which would name mirrors of Debian")
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False
    )
    found = {each.rstrip("/").rpartition("/")[2]: each.rstrip("/") for each in done.stdout.split()}
    if not {"debian", "debian-security"} <= set(found):
        pytest.skip("this machine's apt names no mirror of Debian and of its security updates")
    return {"DEBIAN_MIRROR": found["debian"], "DEBIAN_SECURITY_MIRROR": found["debian-security"]}


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own below `folder`."""

    folder: Path
    unpacked: Path | None
    """Root of unpacked packages; None: the machine's own programs."""

    @classmethod
    def find(cls, folder: Path) -> Builder:
        """The machine's builder, or one unpacked into `folder`; skips the test where there can be none."""
        if os.geteuid() != 0:
            pytest.skip("building an image without a daemon needs root here, and this is another user")
        if all(map(shutil.which, PROGRAMS)):
            return cls(folder, None)
        if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
            pytest.skip("neither buildah and debootstrap nor apt-get to fetch them is here")
        policy = folder / ".config" / "containers" / "policy.json"
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        return cls(folder, _unpack(folder / "unpacked"))

    @property
    def environment(self) -> dict[str, str]:
        found = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "BUILDAH_ISOLATION": "chroot"}
        found["TMPDIR"] = str(self.folder)
        if self.unpacked is None:
            return found
        root = self.unpacked
        libraries = ":".join(str(each) for each in (root / "usr" / "lib").glob("*-linux-gnu*"))
        return {
            **found,
            "PATH": f"{root}/usr/bin:{root}/usr/sbin:{found['PATH']}",
            "LD_LIBRARY_PATH": libraries,
            "DEBOOTSTRAP_DIR": f"{root}/usr/share/debootstrap",
        }

    @property
    def store_options(self) -> list[str]:
        """buildah's global options."""
        return ["--root", f"{self.folder}/store", "--runroot", f"{self.folder}/run", "--storage-driver", self.driver]

    @cached_property
    def driver(self) -> str:
        """Overlays where this file system can carry them, whole copies of every layer where it cannot."""
        tried = self.folder / "overlay"
        for name in ("lower", "upper", "work", "merged"):
            (tried / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={tried}/lower,upperdir={tried}/upper,workdir={tried}/work"
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(tried / "merged")],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            subprocess.run(["umount", str(tried / "merged")], check=True)
        return "vfs" if done.returncode else "overlay"

    def buildah(self, *arguments: str, fails: bool = False) -> str:
        """Run buildah; returns its output."""
        done = self.program("buildah", *self.store_options, *arguments)
        assert (done.returncode != 0) is fails, f"buildah {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + (done.stderr if fails else "")

    def program(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def make_base(self) -> None:
        """A minimal Debian that trusts what this machine trusts, as image `BASE`."""
        root = self.folder / "base"
        done = self.program(
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            SUITE,
            str(root),
            mirrors()["DEBIAN_MIRROR"],
        )
        if done.returncode != 0 and "Failed getting release file" in done.stdout + done.stderr:
            pytest.skip(f"Debian's mirror {mirrors()['DEBIAN_MIRROR']} cannot be reached")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        for file in AUTHORITIES.glob("*.crt"):
            shutil.copy(file, root / AUTHORITIES.relative_to("/"))
        trusted = self.program("chroot", str(root), "env", "--unset=TMPDIR", "update-ca-certificates")
        assert trusted.returncode == 0, trusted.stdout + trusted.stderr
        self.commit(root, BASE)
        shutil.rmtree(root)

    def commit(self, root: Path, image: str) -> None:
        """An image of nothing but the files below `root`."""
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("commit", "--quiet", "--rm", container, image)

    def build(self, context: Path, file: str, image: str, *options: str, **arguments: str) -> str:
        """Build an image; `arguments` are build arguments."""
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        return self.buildah("build", "--file", str(context / file), "--tag", image, *options, *given, str(context))

    def container(self, image: str) -> Container:
        return Container(self, self.buildah("from", "--pull-never", image).strip())


@dataclass(frozen=True)
class Container:
    """A container of an image, in which commands run one after another."""

    builder: Builder
    name: str

    @cached_property
    def root(self) -> Path:
        """The container's files, as this machine sees them."""
        return Path(self.builder.buildah("mount", self.name).strip())

    def run(
        self,
        *command: str,
        mounts: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        folder: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's own user; `mounts` are `from:to:options`.

        What it prints goes through files: buildah 1.28 loses the output of a command that ends at once on a busy machine.
        """
        printed = Path(tempfile.mkdtemp(dir=self.builder.folder))
        printed.chmod(0o777)
        options = [
            *(f"--volume={each}" for each in (*mounts, f"{printed}:/printed")),
            *(f"--env={name}={value}" for name, value in (variables or {}).items()),
            *([f"--workingdir={folder}"] if folder else []),
        ]
        captured = ["sh", "-c", '"$@" > /printed/out 2> /printed/err', "sh", *command]
        done = self.builder.program("buildah", *self.builder.store_options, "run", *options, self.name, "--", *captured)
        files = [printed / "out", printed / "err"]
        said = [file.read_text() if file.exists() else done.stderr for file in files]
        shutil.rmtree(printed)
        return subprocess.CompletedProcess(command, done.returncode, *said)

    def output(self, *command: str, **options: Any) -> str:
        """What a command that must succeed prints."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def remove(self) -> None:
        self.builder.buildah("rm", self.name)


def _unpack(root: Path) -> Path:
    """Unpack the builder's packages with those that this machine lacks; nothing of the machine changes but apt's lists."""
    root.mkdir(exist_ok=True)
    subprocess.run(["apt-get", "-qq", "update"], check=False, capture_output=True)
    command = ["apt-get", "install", "--print-uris", "--yes", "--no-install-recommends", *PROGRAMS]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    files = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("'")]
    if answer.returncode != 0 or not files:
        pytest.skip("buildah and debootstrap are not here, and apt has no package of them")
    names = [f"{name.partition('_')[0]}" for name in files]
    done = subprocess.run(["apt-get", "-q", "download", *names], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"buildah and debootstrap are not here, and cannot be fetched: {done.stderr.strip()[-200:]}")
    for package in sorted(root.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True, capture_output=True)
        package.unlink()
    return root
