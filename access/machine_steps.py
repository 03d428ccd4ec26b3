"""Steps on machines: from a class's jobs to the sessions on their machine, and from roles into machines.

A job has the sessions that its machine keeps for it, and the machine's own role where it gets out of its container. Whoever runs code on a
machine, by SSH or Session Manager, has the machine's role; whether the network lets them is not asked. The machines: `machines`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from access.callers import Choice, aws_service
from access.chains import Node, Step
from access.decision import Undecided, every, some
from access.evaluation import is_allowed, witness_resources
from access.machines import AUTOSCALER, DOCKER, RUNS_ON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.clusters import RunnerConfig
    from access.decision import Truth
    from access.evaluation import Permissions
    from access.graph import AccessGraph
    from access.inventory import InventoryClass
    from access.machines import Machine, MachineRunner, Machines

TASKS = "ecs-tasks.amazonaws.com"
CUSTOM = "custom"
"""Executor of a manager that starts a task for each job."""
GROUP_TAG = "aws:autoscaling:groupname"
"""Tag of every instance of an Auto Scaling group, in small letters."""


class MachineSteps:
    """Steps from jobs to the roles of their machines, and from roles into machines."""

    def __init__(self, machines: Machines, graph: AccessGraph) -> None:
        self._machines, self._graph = machines, graph
        self._into: dict[Node, list[Step]] = {}

    def of_stack(self, stack: str) -> list[Machine]:
        """Return the machines of a stack."""
        return self._machines.by_stack.get(stack, [])

    @property
    def all(self) -> list[Machine]:
        """The machines of all stacks."""
        return self._machines.all

    def managers(self, entry: InventoryClass) -> list[Machine]:
        """Return the machines of a class's manager."""
        return self._machines.named(entry.stack, entry.manager_machine)

    def workers(self, entry: InventoryClass) -> list[Machine]:
        """Return the autoscaled machines of a class."""
        return self._machines.named(entry.stack, entry.worker_machine)

    def config(self, entry: InventoryClass) -> RunnerConfig | None:
        """Return the configuration of a class's manager; None if its manager is no machine."""
        return next((machine.config for machine in self.managers(entry)), None)

    def nodes(self, machine: Machine) -> Iterator[tuple[Node, Truth]]:
        """Yield the roles that a machine has or may have."""
        unknown = machine.roles if isinstance(machine.roles, Undecided) else None
        for role in self._graph.roles.values():
            if role.account != machine.account:
                continue
            if unknown is not None:
                yield Node("role", role.arn), unknown
            elif not isinstance(machine.roles, Undecided) and role.name in machine.roles:
                yield Node("role", role.arn), True

    def of_class(self, entry: InventoryClass) -> Iterator[Step]:
        """Yield steps from the jobs of a class."""
        for manager in self.managers(entry):
            if manager.undecided is not None:
                yield from self._anywhere(manager, manager.undecided)
            for runner in manager.runners:
                yield from self._of_runner(manager, runner)

    def _anywhere(self, manager: Machine, reason: Undecided) -> Iterator[Step]:
        """Yield steps to the roles of all machines of a stack, for jobs that may run on any of them."""
        for machine in self.of_stack(manager.stack):
            yield from (Step(node, reason) for node, _ in self.nodes(machine))

    def _of_runner(self, manager: Machine, runner: MachineRunner) -> Iterator[Step]:
        if runner.executor == CUSTOM:
            yield from self._of_tasks(manager)
            return
        hosts = self._machines.hosts_of(manager, runner) if runner.executor in (DOCKER, AUTOSCALER) else []
        if not hosts:
            reason = f"jobs of {manager.name} run with the executor {runner.executor!r} on machines that are not known"
            yield from self._anywhere(manager, Undecided(reason))
        for host in hosts:
            yield from self._of_job(host, runner)

    def _of_job(self, host: Machine, runner: MachineRunner) -> Iterator[Step]:
        """Yield steps from a job on a machine: to the role whose sessions it sees, and to the machine's own."""
        escapes = some((runner.escapes, host.metadata, host.undecided or False))
        for node, truth in self.nodes(host):
            yield Step(node, every((truth, escapes)))
            role = self._graph.roles.get(host.job_role)
            if role is not None and runner.shares_identity:
                yield Step(Node("role", role.arn), every((truth, self._graph.may_enter(node, role))))

    def _of_tasks(self, manager: Machine) -> Iterator[Step]:
        """Yield steps from a task to its role, if ECS may assume it. The family of a class's tasks has the name of its manager's group."""
        definitions = [
            definition
            for definition in self._machines.task_definitions
            if (definition.stack, definition.family) == (manager.stack, manager.name)
        ]
        if not definitions:
            yield from self._anywhere(manager, Undecided(f"nothing says which tasks {manager.name} starts"))
        for definition in definitions:
            account, inventory = definition.account, self._graph.inventory
            task = f"arn:{inventory.partition}:ecs:{inventory.region}:{account}:task/{definition.family}/{'0' * 32}"
            caller = aws_service(TASKS, {"aws:sourceaccount": (account,), "aws:sourcearn": (task,)})
            unknown = definition.role if isinstance(definition.role, Undecided) else True
            for role in self._graph.roles.values():
                if role.account == account and (unknown is not True or role.arn == definition.role):
                    admitted = self._graph.admits_service(role, TASKS, caller)
                    yield Step(Node("role", role.arn), every((unknown, admitted)))

    def into(self, node: Node) -> list[Step]:
        """Return the steps from a role's session into machines: SSH, commands and sessions."""
        # Of a role outside of these resources, only its trusts are judged, as for other powers.
        if not self._machines.by_stack or not (node.kind == "new" or node.identity in self._graph.roles):
            return []
        if node not in self._into:
            self._into[node] = [step for machine in self._machines.all for step in self._into_machine(node, machine)]
        return self._into[node]

    def _into_machine(self, node: Node, machine: Machine) -> Iterator[Step]:
        permissions = self._graph.permissions(node)
        if self._graph.caller(node).account != machine.account or not _may_run(permissions):
            return
        truth = some(self._may_run_on(node, permissions, action, machine) for action in RUNS_ON)
        if truth is not False:
            for target, held in self.nodes(machine):
                yield Step(target, every((truth, held)))

    def _may_run_on(self, node: Node, permissions: Permissions, action: str, machine: Machine) -> Truth:
        inventory = self._graph.inventory
        arn = f"arn:{inventory.partition}:ec2:{inventory.region}:{machine.account}:instance/i-*"
        instances = witness_resources(permissions, action, arn)
        if isinstance(instances, Undecided):
            return instances
        tags = {f"{prefix}{GROUP_TAG}": (machine.group,) for prefix in ("ec2:resourcetag/", "aws:resourcetag/")}
        tags[f"ssm:resourcetag/{GROUP_TAG}"] = (machine.group,)
        chosen = {"ec2:osuser": Choice(optional=False)}
        return some(
            is_allowed(self._graph.caller(node), permissions, action, instance, tags, chosen) for instance in instances
        )


def _may_run(permissions: Permissions) -> bool:
    """Whether a caller may run code on some machine at all: a quick check before the expensive ones."""
    if any(isinstance(document, Undecided) for document in permissions.policies):
        return True
    allows = [statement for statement in permissions.statements() if statement.effect == "Allow"]
    return any(statement.covers_action(action) is not False for statement in allows for action in RUNS_ON)
