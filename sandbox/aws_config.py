"""The AWS config and credentials files of the sandbox.

Owns the profiles that its callers bring: `management` (root of the management account), `foundation-<account>`,
`operator`, and the platform's own `platform-<account>`. Session names carry the sandbox's run id: the AWS CLI caches
sessions by role, and one of an earlier sandbox must not be taken for one of this.
"""

from __future__ import annotations

import configparser
import io
from typing import TYPE_CHECKING, Final

from sandbox import organization as organizations
from sandbox import state

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.organization import Organization
    from sandbox.paths import Paths

ORGANIZATION_ROLE: Final = "OrganizationAccountAccessRole"
OPERATOR_ROLE: Final = "platform-operator"
DEPLOYER_ROLE: Final = "cicd-platform/platform-deployer"
"""Path and name."""


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
    parser = configparser.ConfigParser(interpolation=None)
    parser["profile management"] = {"region": organization.region, "sts_regional_endpoints": "regional"}
    parser["profile operator"] = _role(
        organization, organization.accounts[organization.home], OPERATOR_ROLE, "management", f"operator-{run_id}"
    )
    for name, account in organization.accounts.items():
        parser[f"profile foundation-{name}"] = _role(
            organization, account, ORGANIZATION_ROLE, "management", f"foundation-{run_id}"
        )
        parser[f"profile platform-{name}"] = _role(
            organization, account, DEPLOYER_ROLE, "operator", f"platform-{run_id}"
        )
    return _text(parser)


def credentials() -> str:
    """Text of the credentials file: the management account's root, whose key id is the account id in the sandbox."""
    parser = configparser.ConfigParser(interpolation=None)
    parser["management"] = {
        "aws_access_key_id": organizations.MANAGEMENT_ACCOUNT,
        "aws_secret_access_key": "sandbox",
    }
    return _text(parser)


def _role(organization: Organization, account: str, role: str, source: str, session: str) -> dict[str, str]:
    return {
        "role_arn": f"arn:{organization.partition}:iam::{account}:role/{role}",
        "source_profile": source,
        "role_session_name": session,
        "region": organization.region,
        "sts_regional_endpoints": "regional",
    }


def _text(parser: configparser.ConfigParser) -> str:
    stream = io.StringIO()
    parser.write(stream)
    return stream.getvalue()
