"""The entry point of a job's Fargate task: SSH for the class's manager, and AWS credentials in a file.

The task has one user without any capability, and it lasts for one job. ECS gives the credentials of the class's job role by an address in this
program's environment. Jobs do not get that variable: with it, the JavaScript SDK gives a profile that does not exist the job role instead of an
error. They read the same file as on the platform's machines. The task ends when the manager stops it; if the manager is gone, it ends when
nobody has been connected for some minutes, and at the latest when the longest job is over.
Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import typing
import urllib.request

STATE = pathlib.Path(os.environ.get("RUNNER_PLATFORM_STATE", "/var/lib/runner-platform"))
IDENTITY = pathlib.Path(os.environ.get("RUNNER_PLATFORM_IDENTITY", "/etc/runner-platform/aws"))
SSHD = os.environ.get("RUNNER_PLATFORM_SSHD", "/usr/sbin/sshd")
ENDPOINT = os.environ.get("RUNNER_PLATFORM_CREDENTIALS", "http://169.254.170.2")
RENEW_SECONDS = 900
RETRY_SECONDS = 10
FIRST_TRIES = 15
FIRST_PAUSE_SECONDS = 2
WATCH_SECONDS = 5
IDLE_SECONDS = 600
"""The manager connects anew for each stage, seconds after the last one."""
PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+=* job-[0-9]+")
SESSION_VARIABLES = ("PATH", "LANG", "HOME", "AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG", "AWS_PAGER")
"""Variables of the image that jobs get; those that ECS adds stay here."""


def main() -> None:
    """Serve one job."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    seconds, port = int(os.environ["TASK_SECONDS"]), int(os.environ["TASK_PORT"])
    path = os.environ.pop("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    first_credentials(path)
    server = serve(os.environ["SSH_PUBLIC_KEY"], port)
    try:
        sys.exit(watch(server, path, seconds))
    finally:
        server.terminate()


def first_credentials(path: str) -> None:
    """Write the first session; without one, end, so that the manager sees why."""
    for remaining in reversed(range(FIRST_TRIES)):
        try:
            renew(path)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next try may succeed
            sys.stderr.write(f"no session of the job role: {error}\n")
            if not remaining:
                sys.exit("this task has no AWS identity; see the trust of its job role")
            time.sleep(FIRST_PAUSE_SECONDS)
        else:
            return


def renew(path: str) -> None:
    """Ask ECS for the session of the job role, and write it for `credential_process`, in one step."""
    with urllib.request.urlopen(f"{ENDPOINT}{path}", timeout=5) as answer:  # noqa: S310  # the task's own address in its network namespace
        keys: dict[str, typing.Any] = json.load(answer)
    document = {
        "Version": 1,
        "AccessKeyId": keys["AccessKeyId"],
        "SecretAccessKey": keys["SecretAccessKey"],
        "SessionToken": keys["Token"],
        "Expiration": keys["Expiration"],
    }
    IDENTITY.mkdir(parents=True, exist_ok=True)
    new = IDENTITY / ".credentials.json.new"
    new.touch(mode=0o600)
    new.write_text(json.dumps(document))
    new.replace(IDENTITY / "credentials.json")


def serve(public_key: str, port: int) -> subprocess.Popen[bytes]:
    """Start the SSH server with a host key of this task alone, for the job's key alone."""
    if not PUBLIC_KEY.fullmatch(public_key):
        sys.exit("SSH_PUBLIC_KEY is not the public key of a job; only the class's manager starts this task")
    STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    STATE.chmod(0o700)
    host_key = STATE / "host_key"
    host_key.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "task", "-f", str(host_key)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    authorized = STATE / "authorized_keys"
    authorized.write_text(f"restrict {public_key}\n")
    authorized.chmod(0o600)
    (STATE / "sshd_config").write_text(server_config(port))
    return subprocess.Popen([SSHD, "-D", "-e", "-f", str(STATE / "sshd_config")])


def server_config(port: int) -> str:
    """Return the SSH server's configuration. It refuses everything but running commands with the job's key."""
    variables = " ".join(f'"{name}={os.environ[name]}"' for name in SESSION_VARIABLES if name in os.environ)
    return "".join(
        f"{line}\n"
        for line in (
            f"Port {port}",
            f"HostKey {STATE}/host_key",
            f"AuthorizedKeysFile {STATE}/authorized_keys",
            "AuthenticationMethods publickey",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "StrictModes no",
            "PermitUserEnvironment no",
            "DisableForwarding yes",
            "PrintMotd no",
            "PidFile none",
            "MaxStartups 20",
            "LogLevel ERROR",
            f"SetEnv {variables}",
        )
    )


def watch(server: subprocess.Popen[bytes], path: str, seconds: int) -> int:
    """Renew the session, and return the exit code when the server ends, nobody is connected for long, or the time is over."""
    started = last_seen = renewed = time.monotonic()
    while True:
        try:
            server.wait(timeout=WATCH_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        else:
            sys.stderr.write("the SSH server has ended\n")
            return 1
        now = time.monotonic()
        if connections(server.pid):
            last_seen = now
        if now - last_seen > IDLE_SECONDS or now - started > seconds:
            sys.stderr.write("nobody is connected, or the time of the longest job is over; the task ends\n")
            return 0
        if now - renewed > RENEW_SECONDS:
            renewed = now if renewed_session(path) else now - RENEW_SECONDS + RETRY_SECONDS


def renewed_session(path: str) -> bool:
    """Renew the session; a failure ends nothing while the last session is valid."""
    try:
        renew(path)
    except Exception as error:  # noqa: BLE001  # whatever it is, the next round may succeed, and the job needs it
        sys.stderr.write(f"no session of the job role: {error}; trying again\n")
        return False
    return True


def connections(server: int) -> int:
    """Return how many processes the SSH server has for connections."""
    parents = []
    for file in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.append(file.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # the process has ended meanwhile
    return parents.count(str(server))


if __name__ == "__main__":
    main()
