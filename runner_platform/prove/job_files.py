"""Files and variables of attempts, written into a new folder for each identity.

A process on this machine cannot have a folder at `/etc/runner-platform/aws`, so mount paths are replaced by local folders, in variables
and in files. Nothing else differs from the pod, and nothing is inherited from the caller's environment except `passed_on`.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner_platform.prove.attempts import TOKEN_FILE, Token, Way
from runner_platform.prove.deployed import DeployedClass, TokenFile
from runner_platform.prove.machine_files import MachineFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform.prove.attempts import Attempt, Identity
    from runner_platform.prove.deployed import ClassKey
    from runner_platform.prove.deployed_machines import DeployedMachines
    from runner_platform.prove.tokens import Tokens

ENDPOINT_VARIABLE = "RUNNER_PLATFORM_JOB_ENDPOINT"


def passed_on() -> dict[str, str]:
    """Variables that name the address of STS for jobs, if `sandbox env` set one. Go's STS client reads no other variable."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    return {"AWS_ENDPOINT_URL_STS": endpoint, "AWS_EC2_METADATA_DISABLED": "true"} if endpoint else {}


class JobFiles:
    """Writes the files of one proof's attempts. Leave it as a context manager to end the machines that it plays.

    Args:
        root: an empty folder with access for its owner only; the caller removes it.
        classes: deployed classes by stack and class.
        tokens: source of tokens.
    """

    def __init__(
        self, root: Path, classes: Mapping[ClassKey, DeployedClass | DeployedMachines], tokens: Tokens
    ) -> None:
        self._root, self._classes, self._tokens = root, classes, tokens
        self._numbers = itertools.count()
        self._passed_on = passed_on()
        self._machines = MachineFiles(root, self._passed_on)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._machines.close()

    def write(self, identity: Identity) -> dict[str, str]:
        """Write the files of an identity and return the variables that refer to them.

        Raises:
            FailedError: the cluster gives no token, or the machine no session.
        """
        deployed = self._classes[identity.stack, identity.runner_class]
        root = self._root / f"files-{next(self._numbers)}"
        if isinstance(deployed, DeployedClass):
            return self._of_pod(identity, deployed, root)
        return self._machines.write(identity, deployed, root)

    def _of_pod(self, identity: Identity, deployed: DeployedClass, root: Path) -> dict[str, str]:
        token = identity.token or Token(stack=identity.stack, namespace=deployed.namespace, account=deployed.account)
        folders = {mount: str(root / str(index)) for index, mount in enumerate(deployed.files)}
        variables = {name: _replaced(value, folders) for name, value in deployed.variables.items()}
        token_file = ""
        for mount, files in deployed.files.items():
            for relative, content in files.items():
                file = Path(folders[mount]) / relative
                file.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, TokenFile):
                    file.write_text(self._tokens.get(token, content))
                    token_file = str(file)
                else:
                    file.write_text(_replaced(content, folders))
        config = variables.get("AWS_CONFIG_FILE")
        if identity.profiles and config:
            with Path(config).open("a", encoding="utf-8") as stream:
                stream.write(identity.profiles.replace(TOKEN_FILE, token_file))
        return variables

    def environment(self, attempt: Attempt, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment of an attempt's process, with a new HOME, so that no cached session is found there."""
        home = self._root / f"home-{next(self._numbers)}"
        home.mkdir()
        profile = {"AWS_PROFILE": attempt.profile} if attempt.way is Way.ENV else {}
        return {"HOME": str(home), **self._passed_on, **variables, **profile}


def _replaced(text: str, folders: Mapping[str, str]) -> str:
    for mount, folder in folders.items():
        text = text.replace(mount, folder)
    return text
