"""The inventory: the organisation, its accounts, GitLab, and the runner classes with their trust levels.

These are the plain values that the access graph needs from settings, so that a test can build a graph without settings. What the settings
allow is not here: `matrix.declared` reads that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.documents.trust import gitlab_subject
from config import boundary_document, load
from config.names import namespace_jobs, namespace_manager, organization_boundary
from config.runners import MACHINE_RUNNERS, AutoscalerRunner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from config.capabilities import Level
    from config.foundation import FoundationSettings
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class InventoryClass:
    """One runner class."""

    stack: str
    name: str
    level: Level
    manager_namespace: str
    jobs_namespace: str
    manager_machine: str = ""
    """Name of the launch template of its manager, if that is an EC2 instance."""
    worker_machine: str = ""
    """Name of the launch template of its autoscaled instances, if it has some."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What the settings of all stacks list."""

    organization: str
    """Id of the organisation, `o-…`."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Ids of the organisation's accounts, by name."""
    partition: str = "aws"
    region: str = "eu-central-1"
    gitlab: str = ""
    """Root of the GitLab instance, `https://…`; also the audience of its tokens."""
    classes: Sequence[InventoryClass] = ()
    gitlab_subjects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Subjects of the projects with a role of their own, by the role's name; a level open may use patterns."""
    pipeline_subjects: Sequence[str] = ()
    """Subjects of the platform's own pipeline."""
    managed_policies: Mapping[str, Any] = field(default_factory=dict)
    """Documents of managed policies that no program makes, by ARN: the organisation's boundary."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Time from which on access is judged: what ended before is over."""
    service_control_policies: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    """Documents of each level from the root to the account, by account id; empty if they are not given."""

    @property
    def gitlab_host(self) -> str:
        """Host of the GitLab instance, as in the name of the provider and in condition keys."""
        return self.gitlab.removeprefix("https://")

    def account_name(self, account: str) -> str:
        """Return the name of an account, or its id if it has no name."""
        return next((name for name, account_id in self.accounts.items() if account_id == account), account)

    def organization_of(self, account: str) -> str | None:
        """Return the organisation of an account; None for an account outside it."""
        return self.organization if account in self.accounts.values() else None

    def class_of(self, name: str) -> InventoryClass | None:
        """Return a class by `<stack>/<class>`; None if there is no such class."""
        return next((entry for entry in self.classes if f"{entry.stack}/{entry.name}" == name), None)

    @classmethod
    def of(cls, stacks: Iterable[Settings], foundation: FoundationSettings | None = None) -> Inventory:
        """Read the inventory from the settings of stacks, and of the foundation below them.

        Raises:
            ValueError: there is neither a stack nor a foundation.
        """
        all_stacks = list(stacks)
        first = foundation or next(iter(all_stacks), None)
        if first is None:
            raise ValueError("there are no settings: name at least one stack or the foundation")
        platform = foundation.platform if foundation else None
        return cls(
            organization=first.organization.id,
            accounts={
                name: account.id for settings in (first, *all_stacks) for name, account in settings.accounts.items()
            },
            partition=first.organization.partition,
            region=first.organization.region,
            gitlab=first.gitlab.url,
            managed_policies={
                arn: document for settings in (first, *all_stacks) for arn, document in _boundaries(settings)
            },
            classes=[entry for settings in all_stacks for entry in _classes(settings)],
            gitlab_subjects=_gitlab_subjects(all_stacks),
            pipeline_subjects=[gitlab_subject(platform.project, ref=platform.ref)] if platform else [],
        )


def _boundaries(settings: Settings | FoundationSettings) -> Iterator[tuple[str, Any]]:
    """Yield `(ARN, document)` of the organisation's boundary in each account, if the settings name a document."""
    platform, partition = settings.platform, settings.organization.partition
    document = boundary_document.read(platform, load.ROOT)
    for account in settings.accounts.values():
        arn = organization_boundary(partition, account.id, platform.boundary)
        if document is not None and arn is not None:
            yield arn, document


def _classes(settings: Settings) -> Iterator[InventoryClass]:
    for name, runner in settings.runners.items():
        yield InventoryClass(
            stack=settings.stack,
            name=name,
            level=runner.level,
            manager_namespace=namespace_manager(name),
            jobs_namespace=namespace_jobs(name),
            manager_machine=settings.names.manager_group(name) if isinstance(runner, MACHINE_RUNNERS) else "",
            worker_machine=settings.names.worker_group(name) if isinstance(runner, AutoscalerRunner) else "",
        )


def _gitlab_subjects(stacks: Iterable[Settings]) -> dict[str, list[str]]:
    subjects: dict[str, list[str]] = {}
    for settings in stacks:
        for name, role in settings.gitlab_oidc.items():
            subject = gitlab_subject(role.project, ref=role.ref, tag=role.tag, environment=role.environment)
            subjects.setdefault(name, []).append(subject)
    return subjects
