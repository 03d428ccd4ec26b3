"""AWS config files: profiles of a class's jobs, of the platform's own pipeline, and of operators.

A class's file holds its role and token under `[default]` and `[profile base]`, and one profile per account that chains to base.
Jobs never have the variables `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`, so that `AWS_PROFILE` means the same in every SDK. Rules: never `duration_seconds` on a chained profile (STS refuses more than an hour), never `credential_source`.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from config.names import DEPLOYER_ROLE, IDENTITY_FOLDER, PLATFORM_ROLE_PATH, READER_ROLE, role_arn
from config.runners import KubernetesRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import RunnerClassSettings

TOKEN_FILE = f"{IDENTITY_FOLDER}/token"
CREDENTIALS_FILE = f"{IDENTITY_FOLDER}/credentials.json"
ORGANIZATION_ROLE = "OrganizationAccountAccessRole"
PLATFORM_ROLES = {"deployer": DEPLOYER_ROLE, "reader": READER_ROLE}
SESSION = "runner-platform"
FOUNDATION_SESSION = "runner-platform-foundation"


class Organization(Protocol):
    """Partition and region, from the settings or elsewhere."""

    @property
    def partition(self) -> str:
        """`aws`, or another of AWS's partitions."""

    @property
    def region(self) -> str:
        """Region of the STS endpoint."""


class Account(Protocol):
    """An account's id, from the settings or elsewhere."""

    @property
    def id(self) -> str:
        """Twelve digits."""


def class_profiles(runner_class: RunnerClassSettings, *, token_file: str = TOKEN_FILE) -> str:
    """Return the AWS config of a class: `[default]`, `[profile base]`, and a profile for each account open to the class.

    In a pod, a service account's token becomes a session of the job role. On a machine, the host keeps a session in a file, and `cat` hands it
    to every SDK, again and again. A container credential endpoint would not do: with its variables the JavaScript SDK gives an unknown
    profile the job role instead of an error. Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """
    if isinstance(runner_class.runner, KubernetesRunner):
        role = runner_class.names.job_role(runner_class.name)
        role_arn_of_jobs = runner_class.names.role_arn(runner_class.platform_account_id, role)
        source = {"role_arn": role_arn_of_jobs, "web_identity_token_file": token_file}
    else:
        source = {"credential_process": f"cat {CREDENTIALS_FILE}"}
    names = runner_class.names
    common = _common(names.organization.region, names.job_role(runner_class.name))
    base = {**source, **common}
    sections = {"default": base, "profile base": base}
    for name, account in runner_class.accounts.items():
        sections[f"profile {name}"] = {
            "role_arn": names.role_arn(account.id, names.delegated_role(runner_class.runner.level)),
            "source_profile": "base",
            **common,
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
    """Return profiles `platform-<account>` for a deployment of the platform.

    Args:
        organization: partition and region.
        accounts: all accounts of the foundation.
        role: `deployer` or `reader`.
        source_profile: profile with the credentials that assume the roles, for people; None is the pipeline's form, in which the job's
            GitLab ID token assumes the role of each account directly.
        token_file: file of the ID token; by default `PIPELINE_TOKEN_FILE`.
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
"""Default file of a job's GitLab ID token; the pipeline's template passes a file in the job's own folder."""


def foundation_profiles(
    organization: Organization,
    accounts: Mapping[str, Account],
    *,
    source_profile: str,
    session: str = FOUNDATION_SESSION,
) -> str:
    """Return profiles `foundation-<account>`, by which a person deploys the foundation with the management account's role."""
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
    """Return an AWS config file; sections and keys keep their order."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for name, keys in sections.items()
    )
