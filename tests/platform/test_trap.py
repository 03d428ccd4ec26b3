"""Why job pods do not use EKS's webhook: the same profiles beside its two variables, and which SDKs then are somebody else.

Everything here that says `POD` is a job that asked for a profile and silently got the pod's own role. Measured before as
`AWS_PROFILE` under IRSA: aws/aws-cli#8883, aws/aws-sdk-go-v2#2794. If a newer SDK mends one, its line fails, and may be changed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import pytest

from components.documents import profiles
from config import load
from runner_platform.prove.model import Sdk, Way
from tests.support import proving
from tests.support.proving import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform.prove.model import Answer
    from tests.support.live import Sandbox

pytestmark = pytest.mark.sandbox


class Is(Enum):
    """Who a job turns out to be."""

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
"""Profile files that somebody might write beside the webhook's variables."""
ALL_RIGHT = dict.fromkeys(proving.WAYS, Is.DEV)
ALL_FAIL = dict.fromkeys(proving.WAYS, Is.NOBODY)
JAVASCRIPT_FALLS_THROUGH = {(Sdk.JAVASCRIPT, Way.NAMED): Is.POD, (Sdk.JAVASCRIPT, Way.ENV): Is.POD}
MEASURED = {
    "chained": {**ALL_RIGHT, (Sdk.GO, Way.ENV): Is.POD},
    "direct": {
        # The target account does not know the cluster's issuer, so whoever follows the profile is refused.
        **ALL_FAIL,
        (Sdk.BOTO3, Way.ENV): Is.POD,
        (Sdk.CLI, Way.ENV): Is.POD,
        (Sdk.GO, Way.ENV): Is.POD,
    },
    "source without role": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
    "empty source": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
    "from environment": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH, (Sdk.GO, Way.ENV): Is.POD},
    "from container": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH, (Sdk.GO, Way.ENV): Is.POD},
    "misspelt": {**ALL_FAIL, **JAVASCRIPT_FALLS_THROUGH},
}


@pytest.fixture(scope="module", autouse=True)
def _surroundings(sandbox: Sandbox) -> Iterator[None]:
    with proving.as_after_sandbox_env(sandbox):
        yield


@pytest.fixture
def job(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """What every job has: its token in a file, and where AWS is."""
    (tmp_path / "token").write_text(proving.job_token("dev", "small"))
    endpoint = sandbox.variables["RUNNER_PLATFORM_JOB_ENDPOINT"]
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def webhook(folder: Path) -> dict[str, str]:
    """The variables that EKS's webhook adds."""
    return {
        "AWS_ROLE_ARN": POD_ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }


def who(answer: Answer) -> Is:
    if not answer.arn:
        assert answer.kind not in {"Crashed", "Unreachable"}, f"a broken set-up, not an SDK's decision: {answer}"
        return Is.NOBODY
    return Is.DEV if f":{SETTINGS.accounts['dev'].id}:" in answer.arn else Is.POD


def asked(profile: str) -> list[Asked]:
    return [Asked(profile, sdk, way) for sdk, way in proving.WAYS]


@pytest.mark.parametrize("kind", FILES)
def test_beside_the_webhook_s_variables_some_sdks_are_silently_somebody_else(
    kind: str, job: dict[str, str], tmp_path: Path
) -> None:
    text = profiles.aws_config_text(FILES[kind]).replace("{token}", str(tmp_path / "token"))
    (tmp_path / "config").write_text(text)
    found = proving.answers(asked("dev"), {**job, **webhook(tmp_path)}, tmp_path / "homes")
    assert {(each.sdk, each.way): who(answer) for each, answer in found.items()} == MEASURED[kind]


def test_without_them_every_sdk_is_who_the_profile_says_and_a_misspelt_one_is_nobody(
    job: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(profiles.class_profiles(SETTINGS, "small", token_file=str(tmp_path / "token")))
    questions = [*asked("dev"), *asked("dve")]
    found = proving.answers(questions, {**job, "AWS_SDK_LOAD_CONFIG": "1"}, tmp_path / "homes")
    expected = {each: Is.DEV if each.profile == "dev" else Is.NOBODY for each in questions}
    assert {each: who(answer) for each, answer in found.items()} == expected
