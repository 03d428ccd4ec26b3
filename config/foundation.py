"""Settings of the stack `foundation`: what exists once per account, whatever stacks of the platform there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from config import checks
from config.sections import AccountId, Organization, RoleArn, Section, Tags, pattern, refuse_own_roles
from config.settings import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = "runner-platform-foundation"
STACK = "foundation"


class FoundationAccount(Section):
    """One AWS account."""

    id: AccountId

    def capabilities(self, _level: object) -> tuple[()]:
        """The foundation grants nothing to runner classes."""
        return ()


class FoundationGitLab(Section):
    """The GitLab instance whose ID tokens the platform's own pipeline brings."""

    url: Annotated[
        str,
        pattern(
            r"https://[a-z0-9.-]+(:\d+)?",
            "is not the root of a GitLab instance; write https:// and the host name, with no slash at the end",
        ),
    ]


class FoundationPlatform(Section):
    """Who may deploy the platform."""

    account: str
    """The account that the platform lives in."""
    state_account: str = "admin"
    """The account that keeps the platform's own state."""
    protect: bool
    project: Annotated[
        str,
        pattern(r"[\w.-]+(/[\w.-]+)+", "is not the full path of a project; write group/project, without wildcards"),
    ]
    """Full path of the GitLab project that holds this program."""
    ref: Annotated[str, pattern(r"[\w./-]+", "is not a branch; name exactly one, without wildcards")] = "main"
    """The protected branch that deploys."""
    operators: tuple[RoleArn, ...] = Field(default=(), strict=False)
    """Roles of people who may deploy from outside the pipeline."""

    @model_validator(mode="after")
    def _operators_are_people(self) -> Self:
        refuse_own_roles(self.operators)
        return self


@dataclass(frozen=True, kw_only=True)
class FoundationSettings:
    """Settings of the foundation."""

    organization: Organization
    accounts: Mapping[str, FoundationAccount]
    gitlab: FoundationGitLab
    platform: FoundationPlatform
    tags: Tags


def parse(raw: Mapping[str, Any], source: str) -> FoundationSettings:
    """Parse the foundation's configuration.

    Raises:
        SettingsError: with every problem that was found.
    """
    parser = Parser(raw)
    parser.refuse_unknown(["organization", "accounts", "gitlab", "platform", "tags"])
    organization = parser.object("organization", Organization)
    gitlab = parser.object("gitlab", FoundationGitLab)
    platform = parser.object("platform", FoundationPlatform)
    tags = parser.object("tags", Tags, required=False)
    accounts = parser.mapping("accounts", FoundationAccount)
    parser.problems += checks.account_ids(accounts)  # type: ignore[arg-type]  # ids and names are all it reads
    listed = [str(name) for name in raw["accounts"]] if isinstance(raw.get("accounts"), dict) else []
    if platform and listed:
        parser.problems += checks.platform_account(platform.account, listed)
        parser.problems += checks.platform_account(platform.state_account, listed, "state_account")
    if organization:
        parser.problems += checks.bucket_names(organization, accounts)  # type: ignore[arg-type]  # same
    parser.finish(source)
    assert organization and gitlab and platform and tags  # noqa: S101, PT018  # finish() has raised otherwise
    return FoundationSettings(organization=organization, accounts=accounts, gitlab=gitlab, platform=platform, tags=tags)
