"""The AWS config and credentials files of the sandbox.

Owns the profiles that its callers bring: `management` (root of the management account) and `operator`. Leaves the
platform's own, `platform-<account>` and `foundation-<account>`, to `components.documents.profiles`: they are the text of
`runner-platform profiles`, with a session name that carries the sandbox's run id. The AWS CLI caches sessions by role,
and one of an earlier sandbox must not be taken for one of this.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import organization as organizations
from runner_platform_sandbox import state

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths

OPERATOR_ROLE: Final = "platform-operator"
MANAGEMENT: Final = "management"
"""Profile of the management account's root."""
OPERATOR: Final = "operator"
"""Profile of the person who deploys the platform."""
LONGEST_SESSION: Final = 64
"""Characters of a role session name (API reference of STS, AssumeRole)."""


@dataclass(frozen=True)
class _Account:
    id: str


def config_file(paths: Paths) -> Path:
    """AWS_CONFIG_FILE."""
    return paths.home / ".aws" / "config"


def credentials_file(paths: Paths) -> Path:
    """AWS_SHARED_CREDENTIALS_FILE."""
    return paths.home / ".aws" / "credentials"


def region(paths: Paths) -> str:
    """The organisation's region, as the config file has it."""
    parser = configparser.ConfigParser()
    parser.read(config_file(paths))
    return parser.get("profile management", "region", fallback="eu-central-1")


def write(paths: Paths, organization: Organization, run_id: str) -> None:
    """Write both files if they are not right already."""
    files = {config_file(paths): config(organization, run_id), credentials_file(paths): credentials()}
    for file, text in files.items():
        if not file.is_file() or file.read_text() != text:
            state.replace(file, text)


def config(organization: Organization, run_id: str) -> str:
    """Text of the config file."""
    # Here, because the names come with the settings' types: `sandbox env` only reads what was written, and must be fast.
    from components.documents import profiles  # noqa: PLC0415

    region_keys = {"region": organization.region, "sts_regional_endpoints": "regional"}
    home = organization.accounts[organization.home]
    accounts = {name: _Account(account) for name, account in organization.accounts.items()}
    callers = {
        f"profile {MANAGEMENT}": region_keys,
        f"profile {OPERATOR}": {
            "role_arn": f"arn:{organization.partition}:iam::{home}:role/{OPERATOR_ROLE}",
            "source_profile": MANAGEMENT,
            "role_session_name": session_name(OPERATOR, run_id),
            **region_keys,
        },
    }
    return "\n".join(
        (
            profiles.aws_config_text(callers),
            profiles.platform_profiles(
                organization,
                accounts,
                role="deployer",
                source_profile=OPERATOR,
                session=session_name(profiles.SESSION, run_id),
            ),
            profiles.foundation_profiles(
                organization,
                accounts,
                source_profile=MANAGEMENT,
                session=session_name(profiles.FOUNDATION_SESSION, run_id),
            ),
        )
    )


def session_name(purpose: str, run_id: str) -> str:
    """A role session name; a purpose that is too long is cut, never the run id, which tells sandboxes apart."""
    ending = f"-{run_id}"
    return purpose[: LONGEST_SESSION - len(ending)] + ending


def credentials() -> str:
    """Text of the credentials file: the management account's root, whose key id is the account id in the sandbox."""
    return f"[{MANAGEMENT}]\naws_access_key_id = {organizations.MANAGEMENT_ACCOUNT}\naws_secret_access_key = sandbox\n"
