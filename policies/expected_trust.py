"""The principals that each role must trust according to the settings; rules about trusts compare with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from access.clusters import ServiceAccount
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


def service_accounts(settings: Settings) -> dict[str, ServiceAccount]:
    """Return the one service account that each role trusts, by role name."""
    names = settings.names
    trusted: dict[str, ServiceAccount] = {}
    for runner_class in settings.runners:
        job = ServiceAccount(namespace_jobs(runner_class), JOB_SERVICE_ACCOUNT)
        manager = ServiceAccount(namespace_manager(runner_class), MANAGER_SERVICE_ACCOUNT)
        trusted |= {names.job_role(runner_class): job, names.manager_role(runner_class): manager}
    if settings.alarms.topic is not None:
        trusted[names.alarms_role()] = ServiceAccount(alarms.NAMESPACE, alarms.SERVICE_ACCOUNT)
    return trusted


def gitlab_subjects(settings: Settings | FoundationSettings) -> Mapping[str, str]:
    """Return the one subject of GitLab's tokens that each role trusts, by role name."""
    if isinstance(settings, Settings):
        return {
            settings.names.gitlab_role(name): gitlab_subject(
                role.project, ref=role.ref, tag=role.tag, environment=role.environment
            )
            for name, role in settings.gitlab_oidc.items()
        }
    pipeline = gitlab_subject(settings.platform.project, ref=settings.platform.ref)
    return {DEPLOYER_ROLE: pipeline, READER_ROLE: pipeline}


def gitlab_host(run: StackRun) -> str:
    """Return the issuer of GitLab's tokens, without `https://`."""
    return run.settings.gitlab.url.removeprefix("https://")


def infrastructure_roles(settings: Settings) -> set[str]:
    """Return the names of the roles that run the platform itself and reach no account."""
    names = settings.names
    own = {names.cluster_role(), names.node_role(), names.flow_log_role(), names.alarms_role()}
    return own | {names.manager_role(runner_class) for runner_class in settings.runners}
