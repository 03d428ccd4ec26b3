"""The platform: GitLab runners in one account, and the roles with which their jobs deploy to every account."""

import pulumi

from components.account_access import AccountAccess, AccountAccessArgs
from components.alarms import optional_alarms
from components.cluster import Cluster, ClusterArgs
from components.documents.checks import CHECKS
from components.guard import Guard, GuardArgs
from components.job_cache import JobCache, JobCacheArgs
from components.network import Network, NetworkArgs
from components.node_pool import manager_nodes
from components.providers import account_provider, gitlab_provider
from components.registry import Registry, RegistryArgs
from components.runner import RunnerArgs, one_after_the_other
from config import load

settings = load.current(*CHECKS)
names, home = settings.names, settings.platform_account
profile = f"platform-{settings.platform.account}"
providers = {
    name: account_provider(
        name,
        account_id=account.id,
        organization=settings.organization,
        stack=settings.stack,
        tags=settings.tags,
        profile=f"platform-{name}",
    )
    for name, account in settings.accounts.items()
}
in_home = pulumi.ResourceOptions(provider=providers[settings.platform.account])

access = {
    name: AccountAccess(
        f"access-{name}",
        AccountAccessArgs(settings=settings, account=name),
        pulumi.ResourceOptions(provider=providers[name]),
    )
    for name in settings.accounts
}
registry = Registry("registry", RegistryArgs(settings=settings), in_home)
cache = JobCache("cache", JobCacheArgs(settings=settings), in_home)
network = Network("network", NetworkArgs(names=names, account_id=home.id, settings=settings.network), in_home)
cluster = Cluster(
    "cluster",
    ClusterArgs(
        names=names,
        account_id=home.id,
        settings=settings.cluster,
        private_subnet_ids=network.private_subnet_ids,
        needs=network.routes,
        profile=profile,
        protect=settings.platform.protect,
    ),
    in_home,
)
inside = [providers[settings.platform.account], cluster.inside, gitlab_provider("gitlab", url=settings.gitlab.url)]
managers = manager_nodes("managers", settings=settings, cluster=cluster, network=network)
shared = RunnerArgs(
    settings=settings, cluster=cluster, network=network, cache=cache, managers=managers, access=list(access.values())
)
runners = one_after_the_other(shared, pulumi.ResourceOptions(providers=inside))
alarms = optional_alarms("alarms", settings=settings, cluster=cluster, nodes=[managers], providers=inside)
last = list(runners.values())[-1].helm_release  # which waits for all the others
leaves = [*access.values(), registry, cache, network, cluster, last, *filter(None, [alarms])]
leaves += [each for runner in runners.values() for each in runner.retired]
Guard("guard", GuardArgs(protect=settings.platform.protect, over=leaves))

pulumi.export("cluster", cluster.name)
pulumi.export("update_kubeconfig", cluster.update_kubeconfig)
pulumi.export("runner_image", registry.runner_image)
pulumi.export("repositories", registry.repositories)
pulumi.export("cache_bucket", cache.bucket)
pulumi.export("delegated_roles", {name: each.delegated_roles for name, each in access.items()})
pulumi.export("gitlab_roles", {name: each.gitlab_roles for name, each in access.items() if each.gitlab_roles})
pulumi.export("runner_tags", {name: each.tag or names.tag(name) for name, each in settings.runners.items()})
pulumi.export("runner_ids", {name: runner.runner_id for name, runner in runners.items() if runner.runner_id})
pulumi.export("job_roles", {name: runner.job_role_arn for name, runner in runners.items()})
