"""A root of Debian with cloud-init, in which user data of a machine is executed: the real modules, packages and programs, and no network.

The packages are downloaded by the machine's apt, verified by hash, and installed in a folder of the tools' cache. Packages of user data
are installed by cloud-init itself, from an archive in the root. A run has mounts, processes and a network of its own, and an overlay, so
that the root stays as it is. Debian 13 stands for Ubuntu 24.04, whose packages cannot be had here: cloud-init, systemd, Docker and boto3
are a little newer. systemd itself does not run; `systemctl` records what it is told, and enables units.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.tools import catalogue
from runner_platform_sandbox.tools.cache import digest, locked, staged

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths

LOCK: Final = catalogue.SOURCES / "machine-root" / "packages.lock"
"""One package a line: `base` or `later` (for cloud-init to install), `name=version`, and the SHA-256 of the file. Debian has the command
`docker` in a package of its own, which `docker.io` recommends; Ubuntu has it in `docker.io`."""
SUITE: Final = "trixie"
USER: Final = "ubuntu"
"""Default user of Ubuntu's images."""
SECONDS: Final = 300
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PROGRAMS: Final = ("apt-get", "dpkg-deb", "unshare", "mount", "ip", "chroot")
_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_SECOND_STAGE: Final = """\
set -eu
cd /archive
dpkg --force-depends --force-unsafe-io --install base-passwd_*.deb base-files_*.deb libc6_*.deb
dpkg --force-depends --force-unsafe-io --force-confold --unpack $(cat /archive/base)
dpkg --force-unsafe-io --configure --pending
apt-ftparchive packages . > Packages
rm -f /etc/apt/sources.list
echo 'deb [trusted=yes] file:/archive ./' > /etc/apt/sources.list.d/archive.list
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/fast
"""
_SYSTEMCTL: Final = """\
#!/bin/sh
echo "$@" >> /var/log/systemctl
[ "$1" != enable ] || exec /usr/bin/systemctl enable "$3"
"""
"""Records commands. Without a systemd that runs, the real one enables units, and refuses `--now`."""
_CLOUD: Final = f"""\
datasource_list: [NoCloud]
system_info: {{default_user: {{name: {USER}, groups: [adm, sudo], shell: /bin/bash}}}}
"""
_ENTER: Final = """\
set -eu
root=$1
mount --make-rprivate /
if [ -n "$WORK" ]; then
    mount -t tmpfs tmpfs "$WORK"
    mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
    root=$WORK/root
fi
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
# Nodes of its own: a package that changes the mode of a device must not change it for this whole machine.
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    numbers=${device#*:}
    mknod --mode 666 "$root/dev/${device%%:*}" c "${numbers%:*}" "${numbers#*:}"
done
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up
exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -s
"""


def obstacle() -> str:
    """Return why this machine cannot run a distribution in namespaces, or an empty string."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a root of a distribution needs Linux and root"
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if missing or not Path(_KEYRING).exists():
        return (
            f"a root of Debian needs {', '.join(missing) or _KEYRING}; use Debian or Ubuntu with debian-archive-keyring"
        )
    return ""


def root(paths: Paths) -> Path:
    """Return the root in the tools' cache, made on first use (about a minute, 600 MB).

    Raises:
        SandboxError: This machine cannot make it; the message says why.
    """
    reason = obstacle()
    if reason:
        raise SandboxError(reason, "leave these tests out: they have the marker `sandbox`")
    folder = paths.tools / f"machine-root-{digest([LOCK.read_bytes(), _SECOND_STAGE.encode()])}"
    with locked(paths, "machine-root", lambda _: None):
        if not folder.exists():
            with staged(paths, "machine-root", folder) as staging:
                _make(staging)
    return folder


def run(root_folder: Path, work: Path, user_data: str, script: str) -> subprocess.CompletedProcess[str]:
    """Execute a shell script in the root, as on a machine that has got user data and has not booted yet.

    Args:
        root_folder: From `root`; it does not change.
        work: An empty folder, for a file system in memory.
        user_data: Text of a cloud-config.
        script: Runs as root; its files are gone afterwards.
    """
    seed = "/var/lib/cloud/seed/nocloud"
    files = {
        f"{seed}/user-data": user_data,
        f"{seed}/meta-data": "instance-id: i-0123456789abcdef0\nlocal-hostname: machine\n",
        "/etc/cloud/cloud.cfg.d/90_machine.cfg": _CLOUD,
        "/usr/local/sbin/systemctl": _SYSTEMCTL,
    }
    writes = "".join(
        f"mkdir -p {Path(name).parent}\ncat > {name} <<'END-OF-FILE'\n{text}\nEND-OF-FILE\n"
        for name, text in files.items()
    )
    return _enter(root_folder, f"{writes}chmod 755 /usr/local/sbin/systemctl\n{script}", work=str(work))


def _enter(folder: Path, script: str, work: str = "") -> subprocess.CompletedProcess[str]:
    namespaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child")
    return subprocess.run(
        ["unshare", *namespaces, "sh", "-c", _ENTER, "enter", str(folder)],
        input=script,
        env={**os.environ, "WORK": work},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _make(folder: Path) -> None:
    entries = [line.split() for line in LOCK.read_text(encoding="utf-8").splitlines()]
    for name in _MERGED:
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    for name in ("proc", "dev", "sys", "run", "tmp", "archive", "var/lib/dpkg"):
        (folder / name).mkdir(parents=True)
    archive = folder / "archive"
    _download([package for _, package, _ in entries], archive)
    files = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in archive.glob("*.deb")}
    odd = [package for _, package, expected in entries if expected not in files]
    if odd:
        raise SandboxError(f"{odd[0]} is not the package that the lock pins", f"compare it with {LOCK.name}")
    base = [files[expected] for kind, _, expected in entries if kind == "base"]
    (archive / "base").write_text(" ".join(file.name for file in base))
    for file in base:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as reader:
            subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "-C", str(folder)], stdin=reader.stdout, check=True
            )
    (folder / "var/lib/dpkg/status").touch()
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # packages start no service
    policy.chmod(0o755)
    answer = _enter(folder, _SECOND_STAGE)
    if answer.returncode != 0:
        raise SandboxError(f"Debian's packages cannot be installed: {answer.stdout[-1000:]}", "look at the message")


def _download(packages: list[str], archive: Path) -> None:
    """Download packages of another release of Debian than the machine's, from the same mirror, with apt's own verification."""
    apt = archive / "apt"
    for name in ("lists/partial", "archives/partial", "preferences.d"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "debian.sources").write_text(
        f"Types: deb\nURIs: {_mirror()}\nSuites: {SUITE}\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    (apt / "apt.conf").write_text(
        f'Dir::State "{apt}";\nDir::State::status "{apt}/status";\nDir::Cache "{apt}";\n'
        f'Dir::Etc::sourcelist "{apt}/debian.sources";\nDir::Etc::sourceparts "/dev/null";\nAPT::Sandbox::User "root";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    for command in (["update"], ["download", *packages]):
        answer = subprocess.run(
            ["apt-get", "-q", *command], cwd=archive, env=environment, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            errors = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or [answer.stderr.strip()]
            raise SandboxError(
                f"apt-get cannot fetch Debian's packages: {errors[0]}",
                f"renew the versions in {LOCK.name}, or try again",
            )
    shutil.rmtree(apt)


def _mirror() -> str:
    """Return the address of Debian's archive that the machine's apt uses."""
    answer = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    addresses = answer.stdout.split()
    if not addresses:
        raise SandboxError("this machine's apt knows no archive of Debian", "run `apt-get update`, on Debian")
    return addresses[0]
