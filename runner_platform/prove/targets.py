"""What a proof is about: the deployed classes of a stack and of its neighbours, and the clusters that give tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config import load
from runner_platform import stacks
from runner_platform.errors import FailedError
from runner_platform.kube.client import Cluster
from runner_platform.prove import deployed, deployed_machines
from runner_platform.prove.deployed import ClassProblemError
from runner_platform.prove.deployed_machines import MissingTemplateError
from runner_platform.prove.job_files import ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings
    from runner_platform.prove.deployed import ClassKey, DeployedClass
    from runner_platform.prove.deployed_machines import DeployedMachines


class NotDeployedError(FailedError):
    """Nothing of the stack is deployed."""


@dataclass(kw_only=True)
class Targets:
    """The deployed classes that attempts are made in."""

    settings: Settings
    neighbours: list[Settings] = field(default_factory=list)
    """Settings of the other deployed stacks."""
    clusters: dict[str, Cluster] = field(default_factory=dict)
    """By stack; a stack without a class on Kubernetes has none."""
    pods: dict[ClassKey, DeployedClass] = field(default_factory=dict)
    machines: dict[ClassKey, DeployedMachines] = field(default_factory=dict)
    problems: dict[ClassKey, str] = field(default_factory=dict)
    """Why a class cannot be tried."""

    @property
    def classes(self) -> Mapping[ClassKey, DeployedClass | DeployedMachines]:
        """Every class that can be tried."""
        return {**self.pods, **self.machines}

    @property
    def cluster(self) -> Cluster | None:
        """The stack's own cluster."""
        return self.clusters.get(self.settings.stack)


def find(settings: Settings, say: Callable[[str], None]) -> Targets:
    """Find the classes of a stack, and the other deployed stacks.

    Args:
        settings: settings of the stack.
        say: prints a line for the reader.

    Raises:
        NotDeployedError: nothing of the stack is deployed.
        FailedError: AWS or the stack's cluster does not answer.
    """
    targets = Targets(settings=settings)
    _add(targets, settings)
    cluster = targets.cluster
    if cluster is not None:
        say(f"target: cluster {cluster.name} at {cluster.server}")
    for (_, name), machines in targets.machines.items():
        groups = " and ".join(machine.group for machine in machines.machines.values())
        say(f"target: class {name} on instances of {groups}")
    say(f"target: STS of {os.environ.get(ENDPOINT_VARIABLE, 'AWS')}, profile platform-{settings.platform.account}")
    for stack in load.stacks():
        if stack == settings.stack:
            continue
        try:
            neighbour = stacks.settings_of(stack)
            _add(targets, neighbour)
        except NotDeployedError:
            say(f"jobs of stack {stack} are not tried as strangers: it is not deployed")
        except FailedError as error:
            say(f"jobs of stack {stack} are not tried as strangers: {error}")
        else:
            targets.neighbours.append(neighbour)
    return targets


def _add(targets: Targets, settings: Settings) -> None:
    """Add the classes of one stack.

    Raises:
        NotDeployedError: nothing of the stack is deployed.
        FailedError: AWS or the cluster does not answer.
    """
    stack = settings.stack
    machines, problems = _machines(settings)
    cluster = Cluster.of(settings) if settings.kubernetes_classes else None
    if cluster is None and not machines:
        raise NotDeployedError(_not_deployed(settings))
    targets.machines |= machines
    targets.problems |= problems
    if cluster is None:
        missing = f"{_not_deployed(settings)}"
        targets.problems |= {(stack, name): missing for name in settings.kubernetes_classes}
        return
    targets.clusters[stack] = cluster
    if (
        stack == targets.settings.stack or targets.cluster is None
    ):  # a neighbour's jobs use this stack's config if it has one for pods
        for name in settings.kubernetes_classes:
            try:
                targets.pods[stack, name] = deployed.read_class(cluster, name, settings.organization.region)
            except ClassProblemError as error:
                targets.problems[stack, name] = str(error)


def _machines(settings: Settings) -> tuple[dict[ClassKey, DeployedMachines], dict[ClassKey, str]]:
    """Return a stack's classes on machines, and the problems of the others; no class at all if none of them has a template."""
    classes: dict[ClassKey, DeployedMachines] = {}
    problems: dict[ClassKey, str] = {}
    missing = 0
    ec2 = deployed_machines.session_of(settings).client("ec2") if settings.machine_classes else None
    for name in settings.machine_classes:
        try:
            classes[settings.stack, name] = deployed_machines.read_class(ec2, settings, name)
        except ClassProblemError as error:
            missing += isinstance(error, MissingTemplateError)
            problems[settings.stack, name] = str(error)
    return classes, {} if missing == len(settings.machine_classes) else problems


def _not_deployed(settings: Settings) -> str:
    account, names = settings.platform.account, settings.names
    if settings.kubernetes_classes:
        thing = f"no cluster {names.cluster}"
    else:
        thing = f"no launch template {names.manager_group(next(iter(settings.machine_classes)))}"
    return (
        f"stack {settings.stack} is not deployed: account {account} ({settings.platform_account.id}) has {thing}; "
        f"`pulumi up -s {settings.stack}` creates it"
    )
