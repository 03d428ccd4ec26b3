"""The organisation that the sandbox plays: accounts, region, partition.

Read from the committed stack file of `foundation`, so that the sandbox has exactly the accounts that the programs
deploy to and nothing is written down twice. Leaves out validation of the whole file: `config` does that when the
program runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT: Final = Path(__file__).resolve().parents[3]
"""The repository that this package belongs to."""
MANAGEMENT_ACCOUNT: Final = "999999999999"
"""Account id of the organisation's management account; exists in the sandbox only."""
GITLAB_ISSUER: Final = "https://gitlab.com"
"""Issuer of the fake GitLab's ID tokens: the one that the stack files trust."""
_ROLE_ARN: Final = re.compile(r"arn:[a-z-]+:iam::(?P<account>\d{12}):role/.+")
_PREFIX: Final = "runner-platform-foundation:"


@dataclass(frozen=True, kw_only=True)
class Organization:
    """An AWS organisation and its member accounts."""

    id: str
    region: str
    partition: str
    accounts: dict[str, str]
    """Account ids by name."""
    people: tuple[str, ...] = ()
    """ARNs of roles of people that the stack files name: they exist before the platform does."""

    @property
    def home(self) -> str:
        """Name of the account that holds the operator's role: `admin`, else the first."""
        return "admin" if "admin" in self.accounts else next(iter(self.accounts))

    def request(self) -> dict[str, Any]:
        """What the AWS server is told (`PUT /_sandbox/organization`)."""
        return {
            "id": self.id,
            "region": self.region,
            "partition": self.partition,
            "management": MANAGEMENT_ACCOUNT,
            "accounts": self.accounts,
            "people": list(self.people),
        }

    def name_of(self, account: str) -> str:
        """Name of an account id; the id itself when it is not a member."""
        return next((name for name, known in self.accounts.items() if known == account), account)


def read(project: Path = PROJECT) -> Organization:
    """Read the organisation from `foundation/Pulumi.foundation.yaml` below `project`.

    Raises:
        SandboxError: Names the file and the key that is missing or not understood.
    """
    path = project / "foundation" / "Pulumi.foundation.yaml"
    config = _config(path)
    organization = _mapping(path, config, "organization")
    accounts = _mapping(path, config, "accounts")
    identifiers = {}
    for name, account in accounts.items():
        identifier = account.get("id") if isinstance(account, dict) else None
        if not isinstance(identifier, str):
            raise SandboxError(
                f"{path}: accounts.{name}.id must be a quoted string of 12 digits", f"got {identifier!r}"
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
    """Roles that may deploy, and roles that administer a cluster.

    What is not the ARN of a member's role is left to the program, which says what is wrong with it.
    """
    platform = config.get(_PREFIX + "platform")
    named = [platform.get("operators") if isinstance(platform, dict) else None]
    for path in sorted(project.glob("Pulumi.*.yaml")):
        cluster = _config(path).get("runner-platform:cluster")
        named.append(cluster.get("administrators") if isinstance(cluster, dict) else None)
    found = [str(arn) for arns in named if isinstance(arns, list) for arn in arns]
    return tuple(
        arn for arn in dict.fromkeys(found) if (match := _ROLE_ARN.fullmatch(arn)) and match["account"] in members
    )


def _config(path: Path) -> Mapping[str, Any]:
    """The `config` of a stack file; empty when there is none."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise SandboxError(f"cannot read {path}: {reason}", "the sandbox takes its accounts from there") from error
    config = document.get("config") if isinstance(document, dict) else None
    return config if isinstance(config, dict) else {}


def _mapping(path: Path, config: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = config.get(_PREFIX + key)
    if not isinstance(found, dict) or not found:
        raise SandboxError(
            f"{path}: {_PREFIX}{key} is missing or not a mapping", "see the other stack files for its shape"
        )
    return found
