"""The roles that settings call for, and what each must trust: what rules about trusts compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from components.documents import alarms
from components.documents.trust import gitlab_subject
from config.names import (
    DEPLOYER_ROLE,
    JOB_SERVICE_ACCOUNT,
    MANAGER_SERVICE_ACCOUNT,
    READER_ROLE,
    namespace_jobs,
    namespace_manager,
)
from config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.foundation import FoundationSettings
    from policies.stack_run import StackRun


class ServiceAccount(NamedTuple):
    """A service account of the cluster."""

    namespace: str
    name: str

    @property
    def subject(self) -> str:
        """The `sub` of its tokens."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def service_accounts(settings: Settings) -> dict[str, ServiceAccount]:
    """Role names, and the one service account that each trusts."""
    names, found = settings.names, {}
    for each in settings.runners:
        found[names.job_role(each)] = ServiceAccount(namespace_jobs(each), JOB_SERVICE_ACCOUNT)
        found[names.manager_role(each)] = ServiceAccount(namespace_manager(each), MANAGER_SERVICE_ACCOUNT)
    if settings.alarms.topic is not None:
        found[names.alarms_role()] = ServiceAccount(alarms.NAMESPACE, alarms.SERVICE_ACCOUNT)
    return found


def gitlab_subjects(settings: Settings | FoundationSettings) -> Mapping[str, str]:
    """Role names, and the one subject of GitLab's tokens that each trusts."""
    if isinstance(settings, Settings):
        return {
            settings.names.gitlab_role(name): gitlab_subject(
                each.project, ref=each.ref, tag=each.tag, environment=each.environment
            )
            for name, each in settings.gitlab_oidc.items()
        }
    platform = settings.platform
    own = gitlab_subject(platform.project, ref=platform.ref)
    return {DEPLOYER_ROLE: own, READER_ROLE: own}


def gitlab_host(surroundings: StackRun) -> str:
    """Issuer of GitLab's tokens, without `https://`."""
    return surroundings.settings.gitlab.url.removeprefix("https://")


def infrastructure_roles(settings: Settings) -> set[str]:
    """Roles of the machinery, which reach no account."""
    names = settings.names
    own = {names.cluster_role(), names.node_role(), names.flow_log_role(), names.alarms_role()}
    return own | {names.manager_role(each) for each in settings.runners}
