"""Attempts outside a proof: a class's token in the sandbox, and any environment that a test wants to try an SDK in."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from config import load
from config.names import namespace_jobs
from runner_platform.kube.client import Cluster
from runner_platform.prove.deployed import TokenFile
from runner_platform.prove.model import Attempt, Identity, Sdk, Token, Way
from runner_platform.prove.probes import Probes
from runner_platform.prove.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.prove.model import Answer
    from tests.support.live import Sandbox

WAYS = [(sdk, way) for sdk in Sdk for way in (Way.NAMED, Way.ENV)]
QUESTION = Attempt(
    runner_class=None,
    service_account="",
    identity=Identity(stack="dev", runner_class="small"),
    profile="",
    sdk=Sdk.BOTO3,
    way=Way.NAMED,
    expected="",
)


@contextmanager
def as_after_sandbox_env(sandbox: Sandbox) -> Iterator[None]:
    """What `eval "$(runner-platform sandbox env)"` does, for this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.variables.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield


def cluster(stack: str) -> Cluster:
    """The deployed cluster of a stack; the environment is the sandbox's."""
    found = Cluster.of(load.of_stack(stack))
    assert found is not None
    return found


def job_token(stack: str, runner_class: str) -> str:
    """A real token of a class's job account."""
    token = Token(stack=stack, namespace=namespace_jobs(runner_class), account="job")
    return Tokens({stack: cluster(stack)}).get(token, TokenFile(audience="sts.amazonaws.com", seconds=3600))


@dataclass(frozen=True)
class Asked:
    """One probe: which profile, by which SDK, in which way."""

    profile: str
    sdk: Sdk
    way: Way


def answers(asked: Sequence[Asked], environment: Mapping[str, str], homes: Path) -> dict[Asked, Answer]:
    """Ask probes in an environment, each with a home of its own."""
    found: dict[Asked, Answer] = {}
    attempts = [replace(QUESTION, profile=each.profile, sdk=each.sdk, way=each.way) for each in asked]

    def surroundings(attempt: Attempt) -> dict[str, str]:
        home = homes / f"home-{attempts.index(attempt)}"
        home.mkdir(parents=True)
        named = {"AWS_PROFILE": attempt.profile} if attempt.way is Way.ENV else {}
        return {**environment, "HOME": str(home), **named}

    with Probes({each.sdk for each in asked}, workers=2) as probes:
        for attempt, answer in probes.run(attempts, surroundings):
            found[Asked(attempt.profile, attempt.sdk, attempt.way)] = answer
    return found
