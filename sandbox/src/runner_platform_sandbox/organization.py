"""The AWS organisation of the sandbox: accounts, region, partition, and the roles of people.

The stack file of `foundation` is the source, so the sandbox has exactly the accounts that the programs deploy to. The
programs validate the whole file when they run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config import stack_file
from config.errors import SettingsError
from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT: Final = Path(__file__).resolve().parents[3]
"""The repository that this package belongs to."""
MANAGEMENT_ACCOUNT: Final = "999999999999"
"""Account id of the organisation's management account; exists in the sandbox only."""
GITLAB_ISSUER: Final = "https://gitlab.com"
"""Issuer of the sandbox's GitLab ID tokens: the one that the stack files trust."""
_ROLE_ARN: Final = re.compile(r"arn:[a-z-]+:iam::(?P<account>\d{12}):role/.+")
_PLATFORM: Final = "runner-platform"
_FOUNDATION: Final = "runner-platform-foundation"


@dataclass(frozen=True, kw_only=True)
class Organization:
    """An AWS organisation and its member accounts."""

    id: str
    region: str
    partition: str
    accounts: dict[str, str]
    """Account ids by name."""
    people: tuple[str, ...] = ()
    """ARNs of people's roles in the stack files: they exist before the platform does."""

    @property
    def home(self) -> str:
        """Name of the account with the operator's role: `admin`, else the first."""
        return "admin" if "admin" in self.accounts else next(iter(self.accounts))

    def request(self) -> dict[str, Any]:
        """Body of the request that declares the organisation to the AWS server."""
        return {
            "id": self.id,
            "region": self.region,
            "partition": self.partition,
            "management": MANAGEMENT_ACCOUNT,
            "accounts": self.accounts,
            "people": list(self.people),
        }

    def name_of(self, account: str) -> str:
        """Name of a member account; any other account id unchanged."""
        return next((name for name, member in self.accounts.items() if member == account), account)


def read(project: Path = PROJECT) -> Organization:
    """Read the organisation from `foundation/Pulumi.foundation.yaml` below `project`.

    Raises:
        SandboxError: Names the file and the key that is missing or not understood.
    """
    path = project / "foundation" / "Pulumi.foundation.yaml"
    config = _config(path, _FOUNDATION)
    organization = _mapping(path, config, "organization")
    accounts = _mapping(path, config, "accounts")
    identifiers = {}
    for name, account in accounts.items():
        identifier = account.get("id") if isinstance(account, dict) else None
        if not isinstance(identifier, str):
            raise SandboxError(
                f"{path}: accounts.{name}.id must be a quoted string of 12 digits", f"the file has {identifier!r}"
            )
        identifiers[str(name)] = identifier
    missing = [key for key in ("id", "region") if not isinstance(organization.get(key), str)]
    if missing:
        raise SandboxError(f"{path}: organization.{missing[0]} is missing", "add it as a string")
    return Organization(
        id=organization["id"],
        region=organization["region"],
        partition=organization.get("partition", "aws"),
        accounts=identifiers,
        people=_people(project, config, set(identifiers.values())),
    )


def _people(project: Path, config: Mapping[str, Any], members: set[str]) -> tuple[str, ...]:
    """Return the roles of operators and of cluster administrators.

    An ARN of another account is left out here: the program reports it.
    """
    platform = config.get("platform")
    lists = [platform.get("operators") if isinstance(platform, dict) else None]
    for path in sorted(project.glob("Pulumi.*.yaml")):
        cluster = _config(path, _PLATFORM).get("cluster")
        lists.append(cluster.get("administrators") if isinstance(cluster, dict) else None)
    roles = [str(arn) for arns in lists if isinstance(arns, list) for arn in arns]
    return tuple(
        arn for arn in dict.fromkeys(roles) if (match := _ROLE_ARN.fullmatch(arn)) and match["account"] in members
    )


def _config(path: Path, project: str) -> Mapping[str, Any]:
    """Return the settings of a stack file, as its program reads them."""
    try:
        return stack_file.read(path, project).values
    except SettingsError as error:
        raise SandboxError(str(error), "the sandbox takes its accounts from this file") from error


def _mapping(path: Path, config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if not isinstance(value, dict) or not value:
        raise SandboxError(
            f"{path}: {_FOUNDATION}:{key} is missing or not a mapping", "see the other stack files for its shape"
        )
    return value
