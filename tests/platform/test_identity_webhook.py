"""Why job pods do not use EKS's identity webhook: beside its variables, some SDKs silently ignore the profile.

`POD` marks a job that asked for a profile and silently got the pod's own role. Known as `AWS_PROFILE` under IRSA: aws/aws-cli#8883,
aws/aws-sdk-go-v2#2794. If a newer SDK fixes a case, its line fails here and may be changed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import pytest

from components.documents import profiles
from config import load
from runner_platform.prove.attempts import Sdk, Way
from tests.support import proving
from tests.support.proving import Question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform.prove.results import Answer
    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox


class Identity(Enum):
    """The identity that a job gets."""

    DEV = "the delegated role of account dev, as asked"
    POD = "the pod's own role, silently"
    NOBODY = "an error"


SETTINGS = load.of_stack("dev")
POD_ROLE = SETTINGS.names.role_arn(SETTINGS.platform_account.id, SETTINGS.names.job_role("small"))
BASE = {"role_arn": POD_ROLE, "web_identity_token_file": "{token}", "region": "eu-central-1"}
DEV_ROLE = SETTINGS.names.role_arn(
    SETTINGS.accounts["dev"].id, SETTINGS.names.delegated_role(SETTINGS.runners["small"].level)
)
DEV = {"role_arn": DEV_ROLE, "region": "eu-central-1"}
FILES = {
    "chained": {"profile base": BASE, "profile dev": {**DEV, "source_profile": "base"}},
    "direct": {"profile dev": {**DEV, "web_identity_token_file": "{token}"}},
    "source without role": {
        "profile base": {"web_identity_token_file": "{token}", "region": "eu-central-1"},
        "profile dev": {**DEV, "source_profile": "base"},
    },
    "empty source": {"profile base": {"region": "eu-central-1"}, "profile dev": {**DEV, "source_profile": "base"}},
    "from environment": {"profile dev": {**DEV, "credential_source": "Environment"}},
    "from container": {"profile dev": {**DEV, "credential_source": "EcsContainer"}},
    "misspelt": {"profile dve": {**DEV, "source_profile": "base"}},
}
"""Config files that somebody might combine with the webhook's variables."""
ALL_RIGHT = dict.fromkeys(proving.WAYS, Identity.DEV)
ALL_FAIL = dict.fromkeys(proving.WAYS, Identity.NOBODY)
JAVASCRIPT_FALLS_THROUGH = {(Sdk.JAVASCRIPT, Way.NAMED): Identity.POD, (Sdk.JAVASCRIPT, Way.ENV): Identity.POD}
MEASURED = {
    "chained": {**ALL_RIGHT, (Sdk.GO, Way.ENV): Identity.POD},
    "direct": {
        # The target account does not know the cluster's issuer, so SDKs that follow the profile are refused.
        **ALL_FAIL,
        (Sdk.BOTO3, Way.ENV): Identity.POD,
        (Sdk.CLI, Way.ENV): Identity.POD,
        (Sdk.GO, Way.ENV): Identity.POD,
    },
    "source without role": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
    "empty source": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
    "from environment": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH, (Sdk.GO, Way.ENV): Identity.POD},
    "from container": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH, (Sdk.GO, Way.ENV): Identity.POD},
    "misspelt": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
}


@pytest.fixture(scope="module", autouse=True)
def _environment(sandbox: Sandbox) -> Iterator[None]:
    with proving.sandbox_environment(sandbox):
        yield


@pytest.fixture
def job(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Write a job's token and return the variables of every job."""
    (tmp_path / "token").write_text(proving.job_token("dev", "small"))
    endpoint = sandbox.variables["RUNNER_PLATFORM_JOB_ENDPOINT"]
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def webhook(folder: Path) -> dict[str, str]:
    """Return the variables that EKS's webhook adds."""
    return {
        "AWS_ROLE_ARN": POD_ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }


def identity_of(answer: Answer) -> Identity:
    if not answer.arn:
        assert answer.kind not in {"Crashed", "Unreachable"}, f"the set-up is broken: {answer}"
        return Identity.NOBODY
    return Identity.DEV if f":{SETTINGS.accounts['dev'].id}:" in answer.arn else Identity.POD


def questions_about(profile: str) -> list[Question]:
    return [Question(profile, sdk, way) for sdk, way in proving.WAYS]


@pytest.mark.parametrize("case", FILES)
def test_beside_the_webhook_s_variables_some_sdks_silently_ignore_the_profile(
    case: str, job: dict[str, str], tmp_path: Path
) -> None:
    text = profiles.aws_config_text(FILES[case]).replace("{token}", str(tmp_path / "token"))
    (tmp_path / "config").write_text(text)
    answers = proving.answers(questions_about("dev"), {**job, **webhook(tmp_path)}, tmp_path / "homes")
    assert {(question.sdk, question.way): identity_of(answer) for question, answer in answers.items()} == MEASURED[case]


def test_without_the_webhook_every_sdk_follows_the_profile_or_fails(job: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        profiles.class_profiles(SETTINGS.runner_class("small"), token_file=str(tmp_path / "token"))
    )
    questions = [*questions_about("dev"), *questions_about("dve")]
    answers = proving.answers(questions, {**job, "AWS_SDK_LOAD_CONFIG": "1"}, tmp_path / "homes")
    expected = {question: Identity.DEV if question.profile == "dev" else Identity.NOBODY for question in questions}
    assert {question: identity_of(answer) for question, answer in answers.items()} == expected
