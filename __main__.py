"""The platform: GitLab runners in one account, and the roles with which their jobs deploy to every account."""

import pulumi

from components.account_access import AccountAccess, AccountAccessArgs
from components.documents.checks import CHECKS
from components.guard import Guard, GuardArgs
from components.job_cache import JobCache, JobCacheArgs
from components.job_cluster import job_cluster
from components.network import Network, NetworkArgs
from components.providers import account_providers, gitlab_provider
from components.registry import Registry, RegistryArgs
from components.runner import Runner, RunnerArgs
from config import load
from config.tags import default_tags

settings = load.current(*CHECKS)
names, home, protect = settings.names, settings.platform_account, settings.platform.protect
tags = default_tags(settings.stack, settings.tags)
providers = account_providers(
    settings.accounts, region=settings.organization.region, tags=tags, profile_prefix="platform"
)
gitlab = gitlab_provider("gitlab", url=settings.gitlab.url)
in_home = pulumi.ResourceOptions(provider=providers[settings.platform.account])

access: dict[str, AccountAccess] = {}
for name, account in settings.accounts.items():
    access_args = AccountAccessArgs(
        names=names,
        account_name=name,
        account=account,
        platform_account_id=home.id,
        job_roles=settings.job_roles(name),
        gitlab_url=settings.gitlab.url,
        gitlab_roles=settings.gitlab_roles(name),
    )
    access[name] = AccountAccess(f"access-{name}", access_args, pulumi.ResourceOptions(provider=providers[name]))
registry_args = RegistryArgs(names=names, repositories=settings.repositories(), protect=protect)
registry = Registry("registry", registry_args, in_home)
cache_args = JobCacheArgs(names=names, account_id=home.id, expire_days=settings.cache.expire_days)
cache = JobCache("cache", cache_args, in_home)
network = Network("network", NetworkArgs(names=names, account_id=home.id, settings=settings.network), in_home)
in_cluster = job_cluster(settings, network=network, tags=tags, opts=in_home)
inside = [in_cluster.cluster.inside] if in_cluster else []
runners: dict[str, Runner] = {}
for name in settings.runners:
    runner_args = RunnerArgs(
        runner_class=settings.runner_class(name),
        tags=tags,
        job_cluster=in_cluster,
        network=network,
        cache=cache,
        access=list(access.values()),
        after=list(runners.values())[-1:],  # managers roll one class after the other
    )
    runners[name] = Runner(
        name, runner_args, pulumi.ResourceOptions(providers=[providers[settings.platform.account], *inside, gitlab])
    )
leaves = [
    *access.values(),
    registry,
    cache,
    network,
    *(in_cluster.leaves if in_cluster else []),
    list(runners.values())[-1].manager,
]
leaves += [runner_object for runner in runners.values() for runner_object in runner.retired]
Guard("guard", GuardArgs(protect=protect, over=leaves))

if in_cluster:
    pulumi.export("cluster", in_cluster.cluster.name)
    pulumi.export("update_kubeconfig", in_cluster.cluster.update_kubeconfig)
pulumi.export("runner_image", registry.runner_image)
pulumi.export("repositories", registry.repositories)
pulumi.export("cache_bucket", cache.bucket)
pulumi.export("delegated_roles", {name: roles.delegated_roles for name, roles in access.items()})
pulumi.export("gitlab_roles", {name: roles.gitlab_roles for name, roles in access.items() if roles.gitlab_roles})
pulumi.export("runner_tags", {name: ", ".join(settings.runner_tags(name)) for name in settings.runners})
pulumi.export("runner_ids", {name: runner.runner_id for name, runner in runners.items() if runner.runner_id})
pulumi.export("job_roles", {name: runner.job_role_arn for name, runner in runners.items()})
