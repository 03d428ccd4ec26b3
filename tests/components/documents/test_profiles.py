"""AWS config files, read with botocore's own parser: chains, regions, and keys that must be absent."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.configloader
import pytest

from components.documents import profiles
from components.documents.cluster import kubeconfig
from config import load
from tests.support.class_settings import CLASSES, settings_of
from tests.support.program import STACKS, parsed, raw_in

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, text: str) -> dict[str, dict[str, str]]:
    file = folder / "config"
    file.write_text(text)
    profiles_of_file: dict[str, dict[str, str]] = botocore.configloader.load_config(str(file))["profiles"]
    return profiles_of_file


@cache
def text(stack: str, runner_class: str) -> str:
    return profiles.class_profiles(settings_of(stack).runner_class(runner_class))


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_class_has_a_profile_for_each_account_it_may_enter(stack: str, runner_class: str, tmp_path: Path) -> None:
    profiles_of_file, settings = read(tmp_path, text(stack, runner_class)), settings_of(stack)
    reachable = settings.accounts_of(runner_class)
    assert set(profiles_of_file) == {"default", "base", *reachable}, "a profile is named as its account"
    suffix, level = settings.names.suffix, settings.runners[runner_class].level.value
    role = f"delegated-role{'-open' if level == 'open' else ''}{suffix}"
    for name, account in reachable.items():
        assert profiles_of_file[name]["role_arn"] == f"arn:aws:iam::{account.id}:role/cicd{suffix}/{role}"
        assert profiles_of_file[name]["source_profile"] == "base", "the chain starts at the class's own role"
    for name in ("default", "base"):
        assert profiles_of_file[name]["role_arn"].endswith(f":role/cicd{suffix}/runner-{runner_class}{suffix}")
        assert profiles_of_file[name]["web_identity_token_file"] == "/etc/runner-platform/aws/token"
        assert "source_profile" not in profiles_of_file[name], "the first step of the chain uses the token"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_no_profile_has_a_key_that_breaks_a_chain(stack: str, runner_class: str, tmp_path: Path) -> None:
    for name, keys in read(tmp_path, text(stack, runner_class)).items():
        assert "duration_seconds" not in keys, "STS refuses more than an hour for a chained role"
        assert "credential_source" not in keys, "it would take the node's role"
        assert keys["region"] == "eu-central-1", f"{name}: an SDK without a region fails or uses another one"
        assert keys["sts_regional_endpoints"] == "regional"
        assert 2 <= len(keys["role_session_name"]) <= 64, "IAM's limits"


def test_a_class_without_accounts_has_only_its_own_role(tmp_path: Path) -> None:
    assert set(read(tmp_path, text("prod", "review"))) == {"default", "base"}


@pytest.mark.parametrize(
    ("partition", "region"), [("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-north-1"), ("aws-eusc", "eusc-de-east-1")]
)
def test_roles_and_regions_are_those_of_the_partition(partition: str, region: str, tmp_path: Path) -> None:
    settings = parsed(raw_in(region), "prod")
    for keys in read(tmp_path, profiles.class_profiles(settings.runner_class("small"))).values():
        assert keys["role_arn"].startswith(f"arn:{partition}:iam::")
        assert keys["region"] == region


def test_a_proof_outside_of_a_pod_uses_another_token_file() -> None:
    assert "web_identity_token_file = /elsewhere/token" in profiles.class_profiles(
        settings_of("dev").runner_class("small"), token_file="/elsewhere/token"
    )


@pytest.mark.parametrize(
    ("role", "source", "expected"),
    [
        ("deployer", None, {"web_identity_token_file": profiles.PIPELINE_TOKEN_FILE}),
        ("deployer", "me", {"source_profile": "me"}),
        ("reader", None, {"web_identity_token_file": profiles.PIPELINE_TOKEN_FILE}),
        ("reader", "me", {"source_profile": "me"}),
    ],
)
def test_the_platform_s_own_profiles_name_every_account(
    role: str, source: str | None, expected: dict[str, Any], tmp_path: Path
) -> None:
    settings = load.of_foundation()
    profiles_of_file = read(
        tmp_path,
        profiles.platform_profiles(settings.organization, settings.accounts, role=role, source_profile=source),
    )
    assert set(profiles_of_file) == {f"platform-{name}" for name in settings.accounts}
    for name, account in settings.accounts.items():
        keys = profiles_of_file[f"platform-{name}"]
        assert keys["role_arn"] == f"arn:aws:iam::{account.id}:role/cicd-platform/platform-{role}"
        assert expected.items() <= keys.items()
        assert len({"source_profile", "web_identity_token_file"} & set(keys)) == 1, "one way in"


def test_profiles_of_the_foundation_use_the_organisation_s_role(tmp_path: Path) -> None:
    settings = load.of_foundation()
    profiles_of_file = read(
        tmp_path, profiles.foundation_profiles(settings.organization, settings.accounts, source_profile="management")
    )
    for name, account in settings.accounts.items():
        keys = profiles_of_file[f"foundation-{name}"]
        assert keys["role_arn"] == f"arn:aws:iam::{account.id}:role/OrganizationAccountAccessRole"
        assert keys["source_profile"] == "management"


@pytest.mark.parametrize("stack", STACKS)
def test_the_profile_of_every_provider_is_printed_by_the_platform(stack: str) -> None:
    assert set(settings_of(stack).accounts) <= set(load.of_foundation().accounts), (
        "the program asks for platform-<account>; the caller's config must have it"
    )


def test_a_kubeconfig_holds_no_credential_and_gets_tokens_by_a_command() -> None:
    document = kubeconfig(name="c", endpoint="https://e", certificate_authority="YQ==", region="r", profile="p")
    (user,) = document["users"]
    assert set(user["user"]) == {"exec"}, "no token ever reaches the state"
    command = user["user"]["exec"]
    assert [command["command"], *command["args"]] == [
        *("runner-platform", "kube-token", "--cluster", "c", "--region", "r", "--profile", "p"),
    ]
    assert command["provideClusterInfo"] is True, "the command must know which API server it asks"
    assert command["interactiveMode"] == "Never"
