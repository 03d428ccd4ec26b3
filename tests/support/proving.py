"""Probes outside of a proof: tokens of a class in the sandbox, and any environment in which a test tries an SDK."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from config import load
from config.names import namespace_jobs
from runner_platform.kube.client import Cluster
from runner_platform.prove.attempts import Attempt, Identity, Sdk, Token, Way
from runner_platform.prove.deployed import TokenFile
from runner_platform.prove.probes import Probes
from runner_platform.prove.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.prove.results import Answer
    from tests.support.running_sandbox import Sandbox

WAYS = [(sdk, way) for sdk in Sdk for way in (Way.NAMED, Way.ENV)]
ATTEMPT = Attempt(
    runner_class=None,
    caller="",
    identity=Identity(stack="dev", runner_class="small"),
    profile="",
    sdk=Sdk.BOTO3,
    way=Way.NAMED,
    expected="",
)


@contextmanager
def sandbox_environment(sandbox: Sandbox) -> Iterator[None]:
    """Do for this process what `eval "$(runner-platform sandbox env)"` does for a shell."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.variables.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield


def cluster(stack: str) -> Cluster:
    """Return the deployed cluster of a stack; the environment is the sandbox's."""
    deployed = Cluster.of(load.of_stack(stack))
    assert deployed is not None
    return deployed


def job_token(stack: str, runner_class: str) -> str:
    """Return a real token of a class's job account."""
    token = Token(stack=stack, namespace=namespace_jobs(runner_class), account="job")
    return Tokens({stack: cluster(stack)}).get(token, TokenFile(audience="sts.amazonaws.com", seconds=3600))


@dataclass(frozen=True)
class Question:
    """One run of a probe: the profile, the SDK, and the way in which the profile is selected."""

    profile: str
    sdk: Sdk
    way: Way


def answers(questions: Sequence[Question], environment: Mapping[str, str], homes: Path) -> dict[Question, Answer]:
    """Run probes in an environment, each with a new HOME below `homes`."""
    attempts = [
        replace(ATTEMPT, profile=question.profile, sdk=question.sdk, way=question.way) for question in questions
    ]

    def environment_of(attempt: Attempt) -> dict[str, str]:
        home = homes / f"home-{attempts.index(attempt)}"
        home.mkdir(parents=True)
        profile = {"AWS_PROFILE": attempt.profile} if attempt.way is Way.ENV else {}
        return {**environment, "HOME": str(home), **profile}

    with Probes({question.sdk for question in questions}, workers=2) as probes:
        return {
            Question(attempt.profile, attempt.sdk, attempt.way): answer
            for attempt, answer in probes.run(attempts, environment_of)
        }
