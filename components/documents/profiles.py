"""AWS config files: the profiles of a class's jobs, and those of the platform's own pipeline and operators.

A class's file holds its role and token under `[default]` and `[profile base]`, and one profile per account that chains to base.
The variables `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE` never exist beside it, so that `AWS_PROFILE` means the same in
every SDK. Rules: never `duration_seconds` on a chained profile (STS refuses more than an hour), never `credential_source`.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from config.names import DEPLOYER_ROLE, IDENTITY_FOLDER, PLATFORM_ROLE_PATH, READER_ROLE, role_arn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings

TOKEN_FILE = f"{IDENTITY_FOLDER}/token"
ORGANIZATION_ROLE = "OrganizationAccountAccessRole"
PLATFORM_ROLES = {"deployer": DEPLOYER_ROLE, "reader": READER_ROLE}
SESSION = "runner-platform"
FOUNDATION_SESSION = "runner-platform-foundation"


class Organization(Protocol):
    """What a profile needs of an organisation: the settings' and any other that knows it."""

    @property
    def partition(self) -> str:
        """`aws`, or another of AWS's partitions."""

    @property
    def region(self) -> str:
        """Where its callers ask STS."""


class Account(Protocol):
    """What a profile needs of an account."""

    @property
    def id(self) -> str:
        """Twelve digits."""


def class_profiles(settings: Settings, runner_class: str, *, token_file: str = TOKEN_FILE) -> str:
    """The AWS config of a class: `[default]`, `[profile base]` and one profile per account that the class may enter."""
    names, region = settings.names, settings.organization.region
    base = {
        "role_arn": names.role_arn(settings.platform_account.id, names.job_role(runner_class)),
        "web_identity_token_file": token_file,
        **_common(region, names.job_role(runner_class)),
    }
    sections = {"default": base, "profile base": base}
    level = settings.runners[runner_class].level
    for name, account in settings.accounts_of(runner_class).items():
        sections[f"profile {name}"] = {
            "role_arn": names.role_arn(account.id, names.delegated_role(level)),
            "source_profile": "base",
            **_common(region, names.job_role(runner_class)),
        }
    return aws_config_text(sections)


def platform_profiles(
    organization: Organization,
    accounts: Mapping[str, Account],
    *,
    role: str,
    source_profile: str | None = None,
    token_file: str | None = None,
    session: str = SESSION,
) -> str:
    """Profiles `platform-<account>` for a deployment of the platform.

    Args:
        organization: partition and region.
        accounts: all accounts of the foundation.
        role: `deployer` or `reader`.
        source_profile: the profile whose credentials assume the roles, for people; None writes the pipeline's form, in which
            the job's GitLab ID token opens each account by itself.
        token_file: where that token is; `PIPELINE_TOKEN_FILE` without it.
        session: role session name.
    """
    source = (
        {"source_profile": source_profile}
        if source_profile
        else {"web_identity_token_file": token_file or PIPELINE_TOKEN_FILE}
    )
    return aws_config_text(
        {
            f"profile platform-{name}": {
                "role_arn": role_arn(organization.partition, account.id, PLATFORM_ROLE_PATH, PLATFORM_ROLES[role]),
                **source,
                **_common(organization.region, session),
            }
            for name, account in accounts.items()
        }
    )


PIPELINE_TOKEN_FILE = "/tmp/runner-platform-id-token"  # noqa: S105, S108  # a job's own file system; the template writes it there
"""Where a job's GitLab ID token is, if nothing else is said; the pipeline's template says a folder of the job."""


def foundation_profiles(
    organization: Organization,
    accounts: Mapping[str, Account],
    *,
    source_profile: str,
    session: str = FOUNDATION_SESSION,
) -> str:
    """Profiles `foundation-<account>` for the one who brings up the foundation with the management account's role."""
    return aws_config_text(
        {
            f"profile foundation-{name}": {
                "role_arn": role_arn(organization.partition, account.id, "/", ORGANIZATION_ROLE),
                "source_profile": source_profile,
                **_common(organization.region, session),
            }
            for name, account in accounts.items()
        }
    )


def _common(region: str, session: str) -> dict[str, str]:
    return {"role_session_name": session, "region": region, "sts_regional_endpoints": "regional"}


def aws_config_text(sections: Mapping[str, Mapping[str, str]]) -> str:
    """An AWS config file: sections in order, keys in order."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for name, keys in sections.items()
    )
