"""What a run would change, or has changed: the one shape that every report is made from.

Both sources fill it: two mock runs (`runner_platform.review.diff`), which know values, and the engine's events, which know what it decided. Leaves
out how a report looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(StrEnum):
    """What happens to a resource; the order is that of a report, the worst first."""

    DELETE = "delete"
    REPLACE = "replace"
    UPDATE = "update"
    CREATE = "create"
    MOVE = "move"
    """It gets another URN by an alias; nothing happens in the cloud."""


STATEFUL = {
    "aws:s3/bucket:Bucket": "its objects are lost",
    "aws:kms/key:Key": "everything that it encrypted is lost",
    "aws:eks/cluster:Cluster": "every running job ends, and all in the cluster is lost",
    "aws:ecr/repository:Repository": "its images are lost",
    "aws:cloudwatch/logGroup:LogGroup": "its logs are lost",
    "aws:ec2/vpc:Vpc": "everything in the network goes with it",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "nobody can assume the roles that trust it",
    "kubernetes:core/v1:Namespace": "everything in it ends, running jobs too",
    "kubernetes:karpenter.sh/v1:NodePool": "its nodes drain; jobs on them run on until they end",
    "gitlab:index/userRunner:UserRunner": "jobs that it has not finished fail",
}
"""Types whose loss an `up` cannot make good, and what is lost."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property of a resource that differs."""

    path: str
    """Dotted, `[…]` for members of lists: `assumeRolePolicy.Statement[Jobs].Condition.StringEquals`."""
    old: str | None = None
    """Shown form, secrets masked; None where it was absent, or is not known to the report."""
    new: str | None = None
    forces_replacement: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that does not stay as it is."""

    kind: Kind
    urn: str
    type: str
    name: str
    account: str | None = None
    """Name of the AWS account; None outside AWS."""
    properties: tuple[Property, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences that a reviewer must not miss."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Paths that force the replacement."""
        return tuple(each.path for each in self.properties if each.forces_replacement)

    @property
    def loss(self) -> str | None:
        """What is lost with the resource; None where an `up` makes good what goes."""
        return STATEFUL.get(self.type) if self.kind in {Kind.DELETE, Kind.REPLACE} else None

    @property
    def is_component(self) -> bool:
        """Whether it only groups others; nothing of it is in the cloud."""
        return self.type.startswith(("runnerplatform:", "pulumi:pulumi:"))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many resources change, by kind; components and providers are no resources of a cloud and are not counted."""

    create: int = 0
    update: int = 0
    delete: int = 0
    replace: int = 0

    @property
    def total(self) -> int:
        """Resources that change."""
        return self.create + self.update + self.delete + self.replace

    def __str__(self) -> str:
        """For people: `2 to create, 1 to delete`."""
        named = {name: getattr(self, name) for name in ("delete", "replace", "update", "create")}
        return ", ".join(f"{count} to {name}" for name, count in named.items() if count) or "no changes"


def counted(change: Change) -> bool:
    """Whether a change is one of a resource that exists in a cloud."""
    return not change.is_component and not change.type.startswith("pulumi:providers:")


def counts(changes: Iterable[Change]) -> Counts:
    """Count changes by kind."""
    kinds = [each.kind for each in changes if counted(each)]
    return Counts(**{kind.value: kinds.count(kind) for kind in Kind if kind is not Kind.MOVE})


def ordered(changes: Iterable[Change]) -> list[Change]:
    """The order of every report: losses first, then deletes and replaces, then the rest; by account, type and name within."""
    kinds = list(Kind)
    return sorted(
        changes,
        key=lambda each: (
            each.loss is None,
            not each.warnings,
            kinds.index(each.kind),
            each.account or "",
            each.type,
            each.name,
        ),
    )
