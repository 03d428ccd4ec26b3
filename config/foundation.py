"""Settings of the stack `foundation`: everything that exists once per account, for all stacks of the platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from config import checks
from config.gitlab_values import (  # pydantic reads the annotations at run time
    GitLabUrl,  # noqa: TC001
    OneBranch,  # noqa: TC001
    ProjectPath,  # noqa: TC001
)
from config.sections import (
    AccountId,
    AccountName,
    BoundaryPolicy,
    DocumentPath,
    Organization,
    RoleArn,
    Section,
    Tags,
    refuse_lone_document,
    refuse_own_roles,
)
from config.settings import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.errors import Problem

PROJECT = "runner-platform-foundation"
STACK = "foundation"


class FoundationAccount(Section):
    """One AWS account."""

    id: AccountId
    """Id of the account, twelve digits in quotes."""


class FoundationGitLab(Section):
    """The GitLab instance whose ID tokens the platform's own pipeline brings."""

    url: GitLabUrl
    """Root of the instance, without a slash at the end."""


class FoundationPlatform(Section):
    """Principals that may deploy the platform."""

    account: AccountName
    """Name of the account that the platform lives in."""
    state_account: AccountName = "admin"
    """Name of the account that keeps the platform's own state."""
    protect: bool
    """Guards state, keys and the platform's own roles against deletion."""
    boundary: BoundaryPolicy | None = None
    """Permissions boundary that the organisation demands of the platform's own roles: a managed policy that each account has under this name
    (`company/boundary`), or an ARN."""
    boundary_document: DocumentPath | None = None
    """File with that policy's document, from the repository's root, such as `company-boundary.json`."""
    project: ProjectPath
    """Full path of the GitLab project that holds this program."""
    ref: OneBranch = "main"
    """The protected branch that deploys."""
    operators: tuple[RoleArn, ...] = Field(default=(), strict=False)
    """Roles of people who may deploy from outside the pipeline."""

    @model_validator(mode="after")
    def _operators_are_people(self) -> Self:
        refuse_own_roles(self.operators)
        refuse_lone_document(self.boundary, self.boundary_document)
        return self


@dataclass(frozen=True, kw_only=True)
class FoundationSettings:
    """Settings of the foundation."""

    organization: Organization
    accounts: Mapping[str, FoundationAccount]
    gitlab: FoundationGitLab
    platform: FoundationPlatform
    tags: Tags


def parse(
    raw: Mapping[str, Any], source: str, *more_checks: checks.Check, problems: Sequence[Problem] = ()
) -> FoundationSettings:
    """Parse the foundation's configuration.

    Args:
        raw: values by key, without the project's namespace.
        source: name of the configuration in the error.
        more_checks: rules beside those of `config.checks`, in the same form.
        problems: what the reader of the file found, to be reported with the rest.

    Raises:
        SettingsError: with every problem.
    """
    parser = Parser(raw, list(problems))
    parser.refuse_secrets()
    parser.refuse_unknown(["organization", "accounts", "gitlab", "platform", "tags"])
    values: dict[str, Any] = {
        "organization": parser.object("organization", Organization),
        "gitlab": parser.object("gitlab", FoundationGitLab),
        "platform": parser.object("platform", FoundationPlatform),
        "tags": parser.object("tags", Tags, required=False),
        "accounts": parser.mapping("accounts", FoundationAccount),
    }
    names = {"account_names": parser.account_names()}
    parser.problems += checks.run([*checks.FOUNDATION_CHECKS, *more_checks], {**values, **names})
    parser.finish(source)
    return FoundationSettings(**values)
