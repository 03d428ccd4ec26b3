"""A builder of images without a daemon, and a base image: buildah in a chroot, Debian from debootstrap.

The machine's own programs are used. If it has none but has apt, their packages are unpacked into a folder of the test; nothing is
installed. Like every builder without user namespaces, it needs root.
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
PATCHER = "patchelf"
SUITE = "trixie"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
"""Folder of the certificate authorities that a Debian machine trusts besides the usual ones."""
SECONDS = 1500
BASE = "localhost/runner-base"


@cache
def mirrors() -> dict[str, str]:
    """Return build arguments with the Debian mirrors of this machine's apt; skip the test without one.

    Mirrors have today's packages. A real image is built from snapshots.
    """
    if not shutil.which("apt-get"):
        pytest.skip("this machine has no apt that names a Debian mirror")
    process = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False
    )
    urls = {url.rstrip("/").rpartition("/")[2]: url.rstrip("/") for url in process.stdout.split()}
    if not {"debian", "debian-security"} <= set(urls):
        pytest.skip("this machine's apt does not name mirrors of Debian and of its security updates")
    return {"DEBIAN_MIRROR": urls["debian"], "DEBIAN_SECURITY_MIRROR": urls["debian-security"]}


@dataclass(frozen=True)
class Builder:
    """buildah with its own store below `folder`."""

    folder: Path
    unpacked: Path | None
    """Root of unpacked packages; None if the machine has the programs."""

    @classmethod
    def find(cls, folder: Path) -> Builder:
        """Return the machine's builder, or unpack one into `folder`; skip the test if neither is possible."""
        if os.geteuid() != 0:
            pytest.skip("building an image without a daemon needs root")
        if all(map(shutil.which, PROGRAMS)):
            return cls(folder, None)
        if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
            pytest.skip("this machine has no buildah and debootstrap, and no apt-get to fetch them")
        policy = folder / ".config" / "containers" / "policy.json"
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        return cls(folder, _unpack(folder / "unpacked"))

    @property
    def environment(self) -> dict[str, str]:
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "BUILDAH_ISOLATION": "chroot",
        }
        variables["TMPDIR"] = str(self.folder)
        if self.unpacked is None:
            return variables
        root = self.unpacked
        return {
            **variables,
            "PATH": f"{root}/usr/bin:{root}/usr/sbin:{variables['PATH']}",
            "LD_LIBRARY_PATH": _libraries(root),
            "DEBOOTSTRAP_DIR": f"{root}/usr/share/debootstrap",
        }

    @property
    def store_options(self) -> list[str]:
        """Global options of buildah."""
        return ["--root", f"{self.folder}/store", "--runroot", f"{self.folder}/run", "--storage-driver", self.driver]

    @cached_property
    def driver(self) -> str:
        """Storage driver: overlays, or whole copies of every layer on a file system without overlays."""
        overlay = self.folder / "overlay"
        for name in ("lower", "upper", "work", "merged"):
            (overlay / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={overlay}/lower,upperdir={overlay}/upper,workdir={overlay}/work"
        process = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(overlay / "merged")],
            capture_output=True,
            check=False,
        )
        if process.returncode == 0:
            subprocess.run(["umount", str(overlay / "merged")], check=True)
        return "vfs" if process.returncode else "overlay"

    def buildah(self, *arguments: str, fails: bool = False) -> str:
        """Run buildah and return its output."""
        process = self.program("buildah", *self.store_options, *arguments)
        output = process.stdout + process.stderr
        assert (process.returncode != 0) is fails, f"buildah {arguments[0]}: {output[-6000:]}"
        return output if fails else process.stdout

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
        """Create image `BASE`: a minimal Debian with this machine's certificate authorities."""
        root = self.folder / "base"
        process = self.program(
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            SUITE,
            str(root),
            mirrors()["DEBIAN_MIRROR"],
        )
        output = process.stdout + process.stderr
        if process.returncode != 0 and "Failed getting release file" in output:
            pytest.skip(f"Debian's mirror {mirrors()['DEBIAN_MIRROR']} does not answer")
        assert process.returncode == 0, output[-6000:]
        for file in AUTHORITIES.glob("*.crt"):
            shutil.copy(file, root / AUTHORITIES.relative_to("/"))
        update = self.program("chroot", str(root), "env", "--unset=TMPDIR", "update-ca-certificates")
        assert update.returncode == 0, update.stdout + update.stderr
        self.commit(root, BASE)
        shutil.rmtree(root)

    def commit(self, root: Path, image: str) -> None:
        """Create an image with the files below `root` alone."""
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("commit", "--quiet", "--rm", container, image)

    def build(self, context: Path, file: str, image: str, *options: str, **arguments: str) -> str:
        """Build an image; `arguments` are build arguments."""
        build_arguments = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        return self.buildah(
            "build", "--file", str(context / file), "--tag", image, *options, *build_arguments, str(context)
        )

    def container(self, image: str) -> Container:
        return Container(self, self.buildah("from", "--pull-never", image).strip())


@dataclass(frozen=True)
class Container:
    """A container of an image; its commands run one after the other."""

    builder: Builder
    name: str

    @cached_property
    def root(self) -> Path:
        """Folder of the container's files on this machine."""
        return Path(self.builder.buildah("mount", self.name).strip())

    def run(
        self,
        *command: str,
        mounts: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        folder: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's user; `mounts` are `from:to:options`.

        The output goes through files, because buildah 1.28 on a busy machine loses the output of short commands.
        """
        printed = Path(tempfile.mkdtemp(dir=self.builder.folder))
        printed.chmod(0o777)
        options = [
            *(f"--volume={mount}" for mount in (*mounts, f"{printed}:/printed")),
            *(f"--env={name}={value}" for name, value in (variables or {}).items()),
            *([f"--workingdir={folder}"] if folder else []),
        ]
        captured = ["sh", "-c", '"$@" > /printed/out 2> /printed/err', "sh", *command]
        process = self.builder.program(
            "buildah", *self.builder.store_options, "run", *options, self.name, "--", *captured
        )
        files = [printed / "out", printed / "err"]
        output = [file.read_text() if file.exists() else process.stderr for file in files]
        shutil.rmtree(printed)
        return subprocess.CompletedProcess(command, process.returncode, *output)

    def output(self, *command: str, **options: Any) -> str:
        """Run a command that must succeed, and return its output."""
        process = self.run(*command, **options)
        assert process.returncode == 0, f"{command}: {process.stdout[-2000:]}{process.stderr[-2000:]}"
        return process.stdout

    def remove(self) -> None:
        self.builder.buildah("rm", self.name)


def _unpack(root: Path) -> Path:
    """Unpack the builder's packages and their missing dependencies. Only apt's lists change on this machine."""
    root.mkdir(exist_ok=True)
    subprocess.run(["apt-get", "-qq", "update"], check=False, capture_output=True)
    command = ["apt-get", "install", "--print-uris", "--yes", "--no-install-recommends", *PROGRAMS, PATCHER]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    files = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("'")]
    if answer.returncode != 0 or not files:
        pytest.skip("this machine has no buildah and debootstrap, and apt has no packages of them")
    names = [f"{name.partition('_')[0]}" for name in files]
    process = subprocess.run(
        ["apt-get", "-q", "download", *names], cwd=root, capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        pytest.skip(f"apt cannot fetch buildah and debootstrap: {process.stderr.strip()[-200:]}")
    for package in sorted(root.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True, capture_output=True)
        package.unlink()
    _set_library_path(root)
    return root


def _set_library_path(root: Path) -> None:
    """Write the folders of unpacked libraries into buildah itself: it starts its chroot process without LD_LIBRARY_PATH."""
    buildah = root / "usr" / "bin" / "buildah"
    patcher = shutil.which(PATCHER, path=f"{root}/usr/bin:{os.environ.get('PATH', os.defpath)}")
    if buildah.exists() and patcher:
        subprocess.run([patcher, "--force-rpath", "--set-rpath", _libraries(root), str(buildah)], check=True)


def _libraries(root: Path) -> str:
    return ":".join(str(library) for library in (root / "usr" / "lib").glob("*-linux-gnu*"))
