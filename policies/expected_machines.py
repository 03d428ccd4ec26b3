"""The machines that a stack has according to the settings; rules compare launch templates, groups and profiles with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from components.documents.machines import user_data
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner, arch_of
from config.versions import MACHINE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import MachineClassSettings, Settings


class MachineKind(NamedTuple):
    """The machines of one kind: a class's manager, or its autoscaled workers."""

    runner_class: MachineClassSettings
    worker: bool

    @property
    def name(self) -> str:
        """Name of the launch template and of the group."""
        names, name = self.runner_class.names, self.runner_class.name
        return names.worker_group(name) if self.worker else names.manager_group(name)

    @property
    def role(self) -> str:
        """Name of the role, and of its instance profile."""
        names, name = self.runner_class.names, self.runner_class.name
        return names.worker_role(name) if self.worker else names.manager_role(name)

    @property
    def runs_jobs(self) -> bool:
        """Whether jobs run on the machine itself."""
        return self.worker or isinstance(self.runner_class.runner, DockerRunner)

    @property
    def holds_profiles(self) -> bool:
        """Whether the AWS config of jobs is on the machine: beside the jobs, or for the tasks that it starts."""
        return self.runs_jobs or isinstance(self.runner_class.runner, FargateRunner)

    @property
    def instance_types(self) -> tuple[str, ...]:
        """Instance types that the settings name."""
        runner = self.runner_class.runner
        if isinstance(runner, DockerRunner):
            return (runner.instance,)
        return runner.instances.types if self.worker and isinstance(runner, AutoscalerRunner) else (runner.manager,)

    @property
    def image(self) -> str:
        """The machine's image, as its launch template names it."""
        path = self.runner_class.machines.image or MACHINE_IMAGE
        return f"resolve:ssm:{path.replace('{arch}', arch_of(self.instance_types[0]))}"

    @property
    def user_data(self) -> str:
        """The user data, in base64."""
        return (user_data.worker_user_data if self.worker else user_data.manager_user_data)(self.runner_class)


def machine_kinds(settings: Settings | None) -> Mapping[str, MachineKind]:
    """Return the kinds of machines of a stack, by the name of their launch template."""
    classes = settings.machine_classes.values() if settings is not None else ()
    kinds = [MachineKind(runner_class, worker=False) for runner_class in classes]
    kinds += [
        MachineKind(runner_class, worker=True)
        for runner_class in classes
        if isinstance(runner_class.runner, AutoscalerRunner)
    ]
    return {kind.name: kind for kind in kinds}
