"""What the reasoner knows besides resources: the organisation, its accounts, GitLab, and which classes have which trust level.

Owns the plain values that settings boil down to, so that a world can be made in a test without settings. Leaves out what is allowed
(`matrix.declared` reads that from settings).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.documents.trust import gitlab_subject
from config.names import namespace_jobs, namespace_manager

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What is given from outside."""

    organization: str
    """Id of the organisation, `o-…`."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Ids of its accounts by name."""
    partition: str = "aws"
    region: str = "eu-central-1"
    gitlab: str = ""
    """Root of the GitLab instance, `https://…`; also the audience of its tokens."""
    classes: Sequence[InventoryClass] = ()
    gitlab_subjects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Subjects of the projects that have a role of their own, by its name; patterns where a level is open."""
    pipeline_subjects: Sequence[str] = ()
    """Subjects of the platform's own pipeline."""
    service_control_policies: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)
    """By account id, for each level from the root to the account, its documents; none where nothing is given."""

    @property
    def gitlab_host(self) -> str:
        """Host of the GitLab instance, as its provider and its condition keys name it."""
        return self.gitlab.removeprefix("https://")

    def account_name(self, account: str) -> str:
        """Name of an account, its id where it has no name."""
        return next((name for name, its in self.accounts.items() if its == account), account)

    def organization_of(self, account: str) -> str | None:
        """The organisation of an account; None for a stranger."""
        return self.organization if account in self.accounts.values() else None

    @classmethod
    def of(cls, stacks: Iterable[Settings], foundation: FoundationSettings | None = None) -> Inventory:
        """Facts of stacks that stand side by side, and of the foundation below them.

        Raises:
            ValueError: there is neither a stack nor a foundation.
        """
        listed = list(stacks)
        first = foundation or next(iter(listed), None)
        if first is None:
            raise ValueError("name at least one stack or the foundation")
        subjects: dict[str, list[str]] = {}
        for settings in listed:
            for name, role in settings.gitlab_oidc.items():
                subject = gitlab_subject(role.project, ref=role.ref, tag=role.tag, environment=role.environment)
                subjects.setdefault(name, []).append(subject)
        pipeline = [gitlab_subject(foundation.platform.project, ref=foundation.platform.ref)] if foundation else []
        return cls(
            organization=first.organization.id,
            accounts={name: account.id for each in (first, *listed) for name, account in each.accounts.items()},
            partition=first.organization.partition,
            region=first.organization.region,
            gitlab=first.gitlab.url,
            classes=[
                InventoryClass(
                    stack=settings.stack,
                    name=name,
                    level=runner.level,
                    manager_namespace=namespace_manager(name),
                    jobs_namespace=namespace_jobs(name),
                )
                for settings in listed
                for name, runner in settings.runners.items()
            ],
            gitlab_subjects=subjects,
            pipeline_subjects=pipeline,
        )
