"""Files and variables of attempts on machines, made by the deployed host program on this machine.

Only where another program plays the instances of a group, as the sandbox does: `RUNNER_PLATFORM_MACHINES` is its command. It gets account,
region and group as arguments, prints `{"endpoint": URL}`, the address of the instance's metadata service, and goes on until its standard
input ends. The host program of the instance's user data then runs once, as it runs on the instance, with this metadata service.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.documents.machines.user_data import ETC
from runner_platform.errors import FailedError
from runner_platform.prove.attempts import Place
from runner_platform.prove.deployed_machines import CREDENTIALS, RUN, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner_platform.prove.attempts import Identity
    from runner_platform.prove.deployed import ClassKey
    from runner_platform.prove.deployed_machines import DeployedMachines, Machine

MACHINES_VARIABLE = "RUNNER_PLATFORM_MACHINES"
SECONDS = 120


class MachineFiles:
    """Plays machines and writes the files of their attempts. Close it to end the machines.

    Args:
        root: an empty folder with access for its owner only; the caller removes it.
        variables: variables with the address of AWS.
    """

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self._root, self._variables = root, variables
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._endpoints: dict[str, str] = {}
        self._hosts: dict[ClassKey, Path] = {}

    def close(self) -> None:
        """End the machines."""
        self._open.close()

    def write(self, identity: Identity, deployed: DeployedMachines, folder: Path) -> dict[str, str]:
        """Write the files of an identity into a new folder, and return the variables of its process.

        Raises:
            FailedError: no instance of the group can be played, or the host program gives no credentials.
        """
        if identity.place in {Place.HOST, Place.MANAGER}:
            folder.mkdir()
            config = folder / "config"
            config.write_text(identity.profiles)
            return {"AWS_CONFIG_FILE": str(config), **self._metadata(deployed, identity.place)}
        if Place.HOST not in deployed.machines:
            raise FailedError(TASKS)
        reachable = self._metadata(deployed, Place.HOST) if deployed.metadata_in_jobs else {}
        if identity.place is Place.BESIDE:
            return {"AWS_DEFAULT_REGION": deployed.region, **reachable}
        host = self._host((identity.stack, identity.runner_class), deployed)
        folders = {mount: folder / str(index) for index, mount in enumerate(deployed.mounts)}

        def moved(text: str) -> str:
            for mount, local in folders.items():
                text = text.replace(mount, str(local))
            return text

        for mount, source in deployed.mounts.items():
            _copy(host / PurePosixPath(source).relative_to(RUN), folders[mount], moved)
        variables = {name: moved(value) for name, value in deployed.variables.items()}
        if identity.profiles:
            with Path(variables["AWS_CONFIG_FILE"]).open("a", encoding="utf-8") as stream:
                stream.write(identity.profiles)
        # Every container has a PATH, and Go looks there for the shell that starts a `credential_process`.
        return {"PATH": os.defpath, **variables, **reachable}

    def _metadata(self, deployed: DeployedMachines, place: Place) -> dict[str, str]:
        with self._lock:
            endpoint = self._endpoint(deployed, place)
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "false"}

    def _endpoint(self, deployed: DeployedMachines, place: Place) -> str:
        group = deployed.machines[place].group
        if group not in self._endpoints:
            self._endpoints[group] = self._open.enter_context(_played(deployed, group))
        return self._endpoints[group]

    def _host(self, key: ClassKey, deployed: DeployedMachines) -> Path:
        """Return the local `/run` of the machine that runs a class's jobs, with the session that its own program asked for."""
        with self._lock:
            if key not in self._hosts:
                endpoint = self._endpoint(deployed, Place.HOST)
                folder = self._root / f"machine-{len(self._hosts)}"
                self._hosts[key] = _run_program(deployed.machines[Place.HOST], folder, endpoint, self._variables)
            return self._hosts[key]


@contextlib.contextmanager
def _played(deployed: DeployedMachines, group: str) -> Iterator[str]:
    """Let another program play an instance of a group while the block runs; yield the address of its metadata service."""
    command = shlex.split(os.environ.get(MACHINES_VARIABLE, ""))
    if not command:
        raise FailedError(
            f"{MACHINES_VARIABLE} is not set, so no instance of {group} can be played here; "
            'in the sandbox: eval "$(runner-platform sandbox env)"'
        )
    process = subprocess.Popen(
        [*command, deployed.account, deployed.region, group],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone; the other one ends with its standard input
    )
    try:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        line = process.stdout.readline()
        if not line:
            _, errors = process.communicate()
            raise FailedError(f"no instance of group {group} can be played: {errors.strip() or 'it says nothing'}")
        yield str(json.loads(line)["endpoint"])
    finally:
        process.communicate()


def _run_program(machine: Machine, folder: Path, endpoint: str, variables: dict[str, str]) -> Path:
    """Run the deployed program once, with its files in a folder; return the folder that is its `/run`."""
    etc, run = folder / "etc", folder / "run"
    program = folder / "program.py"
    for path, content in machine.files.items():
        if path.startswith(f"{ETC}/"):
            file = etc / path.removeprefix(f"{ETC}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    program.write_text(machine.files.get(machine.program(CREDENTIALS), ""))
    environment = {
        **variables,
        "PATH": os.defpath,
        "HOME": str(folder),
        "RUNNER_PLATFORM_ETC": str(etc),
        "RUNNER_PLATFORM_RUN": str(run),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint,
        "AWS_EC2_METADATA_DISABLED": "false",
    }
    command = [sys.executable, "-I", str(program), CREDENTIALS, "--once"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode or done.stderr.strip():
        problem = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise FailedError(f"the host program of launch template {machine.group} gives jobs no session: {problem}")
    return run


def _copy(source: Path, target: Path, moved: Callable[[str], str]) -> None:
    """Copy the files of a mounted folder, with other paths in their texts."""
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()) if source.is_dir() else []:
        if file.is_file():
            (target / file.name).write_text(moved(file.read_text()))
