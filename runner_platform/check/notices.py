"""Early notices for a stack's owner: the end of Kubernetes support, old runner tokens, quotas for full load.

Notices never fail a check. Dates and quotas come from settings and from `config/versions.py`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from components.documents.node_pool import class_capacity, managers_capacity
from config.capabilities import Level
from config.machine_types import machine_type
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner, of_kubernetes
from config.versions import HELPER_CHART, KUBERNETES_SUPPORT_ENDS, minor_version, newest_kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.runners import Runner
    from config.settings import Settings

WARN_BEFORE = timedelta(days=60)
TOKEN_AGE = timedelta(days=180)
"""Age at which a runner authentication token should be rotated: half a year."""


def notices(settings: Settings, today: date) -> Iterator[str]:
    """Notices of a stack, a sentence each."""
    yield from _support(settings, today)
    yield from _tokens(settings, today)
    yield from _authority(settings, today)
    yield from _helper(settings)
    yield quota(settings)


def _support(settings: Settings, today: date) -> Iterator[str]:
    if settings.cluster is None:
        return
    version = settings.cluster.version
    ends, newest = KUBERNETES_SUPPORT_ENDS[version], newest_kubernetes()
    if today > ends:
        yield f"cluster.version {version}: standard support ended on {ends}; EKS will upgrade it by itself: raise it, newest known here is {newest}"
    elif today > ends - WARN_BEFORE:
        yield f"cluster.version {version}: standard support ends on {ends}, in {(ends - today).days} days; raise it, newest known here is {newest}"


def _tokens(settings: Settings, today: date) -> Iterator[str]:
    for name, runner in settings.runners.items():
        if runner.token_created is None:
            continue
        created = date.fromisoformat(runner.token_created)
        if today - created > TOKEN_AGE:
            yield (
                f"runners.{name}.token: generation {runner.token} is {(today - created).days} days old; "
                f"raise token to {runner.token + 1} and set token_created to rotate it"
            )


def _authority(settings: Settings, today: date) -> Iterator[str]:
    """Notice certificates of GitLab's authority that end soon: managers then lose the connection."""
    bundle = settings.gitlab.ca_bundle
    for certificate in x509.load_pem_x509_certificates(bundle.encode()) if bundle else ():
        ends = certificate.not_valid_after_utc.date()
        if today > ends - WARN_BEFORE:
            name = certificate.subject.rfc4514_string() or "without a name"
            yield f"gitlab.ca_bundle: certificate {name} ends on {ends}, in {(ends - today).days} days; add its successor"


def _helper(settings: Settings) -> Iterator[str]:
    """Notice a chart whose runner is not that of the helper image. A packaged chart does not say its version in the settings."""
    version = settings.chart.version if settings.chart is not None else None
    protected = [name for name, runner in of_kubernetes(settings.runners).items() if runner.level is Level.PROTECTED]
    if version is None or not protected or minor_version(version)[:2] == HELPER_CHART:
        return
    yield (
        f"chart.version {version}: the helper image of {', '.join(protected)} belongs to the runner of chart "
        f"{'.'.join(map(str, HELPER_CHART))}; push the helper of this chart's runner under a new RUNNER_IMAGE_TAG, and raise HELPER_CHART"
    )


def quota(settings: Settings) -> str:
    """Sentence on the vCPUs of all classes at full load, by EC2's quota.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html (quotas L-1216C47A and L-34B43A08)
    """
    on_demand, spot = needed_vcpus(settings)
    return (
        f"full load needs up to {on_demand} vCPUs on demand, and up to {spot} on spot: "
        f"quotas 'Running On-Demand Standard instances' and 'All Standard Spot Instance Requests' of account {settings.platform.account}"
    )


def needed_vcpus(settings: Settings) -> tuple[int, int]:
    """VCPUs of a stack at full load: on demand, and of spot classes."""
    runners = of_kubernetes(settings.runners)
    loads = {name: class_capacity(runner).full_load_cpu for name, runner in runners.items()}
    spot = sum(load for name, load in loads.items() if runners[name].spot)
    # Spot classes fall back to on-demand capacity when there is no spot, so that quota counts them too.
    on_demand = sum(loads.values()) + (managers_capacity(len(runners)).full_load_cpu if runners else 0)
    for runner in settings.runners.values():
        of_machines, of_spot = _machine_vcpus(runner)
        on_demand, spot = on_demand + of_machines, spot + of_spot
    return on_demand, spot


def _machine_vcpus(runner: Runner) -> tuple[int, int]:
    """VCPUs of a class's machines: on demand and on spot. A machine that runs jobs overlaps with its successor."""
    if isinstance(runner, DockerRunner):
        return 2 * _vcpus(runner.instance), 0
    if isinstance(runner, AutoscalerRunner):
        workers = runner.max_instances * max(_vcpus(name) for name in runner.instances.types)
        manager = _vcpus(runner.manager)
        return (manager, workers) if runner.spot else (manager + workers, 0)
    return (_vcpus(runner.manager), 0) if isinstance(runner, FargateRunner) else (0, 0)


def _vcpus(name: str) -> int:
    machine = machine_type(name)
    return machine.vcpus if machine is not None else 0
