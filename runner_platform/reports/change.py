"""`Change`: the change of one resource in a preview, an update, a drift or a comparison. Every report is made from it.

Two sources fill it: two mock runs (`runner_platform.review.comparison`), which know values, and the engine's events, which know the
engine's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(StrEnum):
    """Kind of a change, in the order of a report: the worst first."""

    DELETE = "delete"
    REPLACE = "replace"
    UPDATE = "update"
    CREATE = "create"
    MOVE = "move"
    """Another URN by an alias; nothing happens in the cloud."""


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
"""Loss that an `up` cannot make good, by type."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One changed property of a resource."""

    path: str
    """Dotted, `[…]` for members of lists: `assumeRolePolicy.Statement[Jobs].Condition.StringEquals`."""
    old: str | None = None
    """Text, secrets masked; None if it was absent, or is unknown to the source."""
    new: str | None = None
    forces_replacement: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change of one resource."""

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
        return tuple(change.path for change in self.properties if change.forces_replacement)

    @property
    def loss(self) -> str | None:
        """The loss with the resource; None if an `up` makes the resource again without one."""
        return STATEFUL.get(self.type) if self.kind in {Kind.DELETE, Kind.REPLACE} else None

    @property
    def is_component(self) -> bool:
        """Whether the resource is a component, which exists in no cloud."""
        return self.type.startswith(("runnerplatform:", "pulumi:pulumi:"))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Number of changed resources by kind, without components and providers, which exist in no cloud."""

    create: int = 0
    update: int = 0
    delete: int = 0
    replace: int = 0

    @property
    def total(self) -> int:
        """Number of changed resources."""
        return self.create + self.update + self.delete + self.replace

    def __str__(self) -> str:
        """For people: `2 to create, 1 to delete`."""
        named = {name: getattr(self, name) for name in ("delete", "replace", "update", "create")}
        return ", ".join(f"{count} to {name}" for name, count in named.items() if count) or "no changes"


def counted(change: Change) -> bool:
    """Whether the changed resource exists in a cloud."""
    return not change.is_component and not change.type.startswith("pulumi:providers:")


def counts(changes: Iterable[Change]) -> Counts:
    """Count changes by kind."""
    kinds = [change.kind for change in changes if counted(change)]
    return Counts(**{kind.value: kinds.count(kind) for kind in Kind if kind is not Kind.MOVE})


def ordered(changes: Iterable[Change]) -> list[Change]:
    """Sort changes for a report: losses, then warnings, then by kind, account, type and name."""
    kinds = list(Kind)
    return sorted(
        changes,
        key=lambda change: (
            change.loss is None,
            not change.warnings,
            kinds.index(change.kind),
            change.account or "",
            change.type,
            change.name,
        ),
    )
