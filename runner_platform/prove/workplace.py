"""Lays out the files and variables of attempts, each in a folder of its own.

A process cannot have a folder at `/etc/runner-platform/aws` on this machine, so mount paths are replaced by folders here, in variables
and in files alike; that is all that differs from the pod. Nothing of the caller's environment is inherited but `passed_on`.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform.prove.deployed import TokenFile
from runner_platform.prove.model import TOKEN_FILE, Token, Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform.prove.deployed import ClassKey, Deployed
    from runner_platform.prove.model import Attempt, Identity
    from runner_platform.prove.tokens import Tokens

ENDPOINT_VARIABLE = "RUNNER_PLATFORM_JOB_ENDPOINT"


def passed_on() -> dict[str, str]:
    """Where AWS is for a job, where that is not AWS itself: what `sandbox env` says. Go's own STS client honours this variable alone."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    return {"AWS_ENDPOINT_URL_STS": endpoint, "AWS_EC2_METADATA_DISABLED": "true"} if endpoint else {}


class Workplace:
    """The folders of one proof.

    Args:
        root: An empty folder that only its owner may read; removed by the caller.
        classes: What is deployed, by stack and class.
        tokens: Where tokens come from.
    """

    def __init__(self, root: Path, classes: Mapping[ClassKey, Deployed], tokens: Tokens) -> None:
        self._root, self._classes, self._tokens = root, classes, tokens
        self._numbers = itertools.count()
        self._passed_on = passed_on()

    def lay_out(self, identity: Identity) -> dict[str, str]:
        """Write the files of an identity and return the variables that go with them.

        Raises:
            FailedError: a token cannot be had.
        """
        deployed = self._classes[identity.stack, identity.runner_class]
        token = identity.token or Token(stack=identity.stack, namespace=deployed.namespace, account=deployed.account)
        folder = self._root / f"files-{next(self._numbers)}"
        places = {mount: str(folder / str(index)) for index, mount in enumerate(deployed.files)}
        variables = {name: _replaced(value, places) for name, value in deployed.variables.items()}
        token_file = ""
        for mount, files in deployed.files.items():
            for relative, content in files.items():
                place = folder / places[mount] / relative
                place.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, TokenFile):
                    place.write_text(self._tokens.get(token, content))
                    token_file = str(place)
                else:
                    place.write_text(_replaced(content, places))
        config = variables.get("AWS_CONFIG_FILE")
        if identity.profiles and config:
            with Path(config).open("a", encoding="utf-8") as stream:
                stream.write(identity.profiles.replace(TOKEN_FILE, token_file))
        return variables

    def environment(self, attempt: Attempt, variables: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of an attempt's process; its HOME is new and empty, so that nobody finds another's session there."""
        home = self._root / f"home-{next(self._numbers)}"
        home.mkdir()
        named = {"AWS_PROFILE": attempt.profile} if attempt.way is Way.ENV else {}
        return {"HOME": str(home), **self._passed_on, **variables, **named}


def _replaced(text: str, places: Mapping[str, str]) -> str:
    for mount, place in places.items():
        text = text.replace(mount, place)
    return text
