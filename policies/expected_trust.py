"""The principals that each role may trust according to the settings, and the managed policies that it may carry; rules compare with them."""

from __future__ import annotations

from collections import defaultdict
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
from config.partitions import service_principal
from config.runners import FargateRunner, of_kubernetes
from config.settings import Settings
from policies.expected_machines import machine_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.foundation import FoundationSettings
    from policies.stack_run import StackRun


def service_accounts(settings: Settings) -> dict[str, ServiceAccount]:
    """Return the one service account that each role trusts, by role name."""
    names = settings.names
    trusted: dict[str, ServiceAccount] = {}
    for runner_class in of_kubernetes(settings.runners):
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
    hosts = job_hosts(settings)
    own |= {names.task_role(name) for name in classes_of_tasks(settings)}
    return own | {role for name in settings.runners if (role := names.manager_role(name)) not in hosts}


def job_hosts(settings: Settings) -> dict[str, str]:
    """Return the roles of the machines that keep sessions of a job role for jobs, with the job role, by name."""
    names = settings.names
    return {
        kind.role: names.job_role(kind.runner_class.name) for kind in machine_kinds(settings).values() if kind.runs_jobs
    }


def trusted_roles(settings: Settings | FoundationSettings) -> Mapping[tuple[str, str], set[str]]:
    """Return the ARNs of the roles that a role may trust, by account and name; every other role trusts none."""
    if not isinstance(settings, Settings):
        operators = set(settings.platform.operators)
        own = (DEPLOYER_ROLE, READER_ROLE)
        return {(account.id, role): operators for account in settings.accounts.values() for role in own}
    names, home = settings.names, settings.platform_account.id
    callers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for name, runner in settings.runners.items():
        for account in settings.accounts_of(name).values():
            callers[account.id, names.delegated_role(runner.level)].add(names.role_arn(home, names.job_role(name)))
    for host, job in job_hosts(settings).items():
        callers[home, job].add(names.role_arn(home, host))
    return callers


def trusted_services(settings: Settings | FoundationSettings) -> Mapping[str, str]:
    """Return the one AWS service that a role may trust, by role name; every other role trusts none."""
    if not isinstance(settings, Settings):
        return {}
    names = settings.names
    return {
        names.cluster_role(): "eks.amazonaws.com",
        names.node_role(): service_principal("ec2", settings.organization.partition),
        names.flow_log_role(): "vpc-flow-logs.amazonaws.com",
        **{kind.role: "ec2.amazonaws.com" for kind in machine_kinds(settings).values()},
        **{
            make(name): "ecs-tasks.amazonaws.com"
            for name in classes_of_tasks(settings)
            for make in (names.job_role, names.task_role)
        },
    }


def classes_of_tasks(settings: Settings) -> list[str]:
    """Return the classes whose jobs are Fargate tasks."""
    return [name for name, runner in settings.runners.items() if isinstance(runner, FargateRunner)]


def managed_policies(settings: Settings | FoundationSettings) -> Mapping[str, frozenset[str]]:
    """Return the AWS managed policies that a role may carry, by role name; every other role carries none."""
    if not isinstance(settings, Settings):
        return {READER_ROLE: frozenset({"SecurityAudit", "job-function/ViewOnlyAccess"})}
    names = settings.names
    return {
        names.cluster_role(): CLUSTER_POLICIES,
        names.node_role(): NODE_POLICIES,
        names.alarms_role(): AGENT_POLICIES,
    }


CLUSTER_POLICIES = frozenset(
    {
        *("AmazonEKSClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSBlockStoragePolicy"),
        *("AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy"),
    }
)
NODE_POLICIES = frozenset({"AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"})
AGENT_POLICIES = frozenset({"CloudWatchAgentServerPolicy"})
