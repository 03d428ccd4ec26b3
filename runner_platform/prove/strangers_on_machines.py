"""Strangers of classes on machines: containers beside the jobs, jobs that ask for the machine's credentials, and the machines themselves.

A machine has no service account, so nothing can be borrowed and nothing forged: what a caller may become depends on where it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.documents.profiles import aws_config_text
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from runner_platform.prove.attempts import DEFAULT_PROFILE, Attempt, Identity, Place, job_account
from runner_platform.prove.refusals import (
    NO_CREDENTIALS,
    OWN_ROLE,
    grouped,
    in_own_role,
    job_key,
    roles_of_class,
    section,
    sections,
    stranger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

MACHINE = "machine"
"""Profile by which a job asks the metadata service for the machine's credentials."""
CREDENTIAL_SOURCE = ("credential_source", "Ec2InstanceMetadata")


def of_stack(settings: Settings) -> Iterator[Attempt]:
    """Plan the attempts of all strangers of a stack's classes on machines."""
    for runner_class in settings.machine_classes:
        if not isinstance(settings.runners[runner_class], FargateRunner):
            yield from grouped("containers beside the jobs of a machine", [_beside(settings, runner_class)])
            yield from grouped("jobs that ask for the machine's credentials", [_metadata(settings, runner_class)])
        for place, role in hosts(settings, runner_class).items():
            yield from grouped("machines in their own roles", _host(settings, runner_class, place, role))


def hosts(settings: Settings, runner_class: str) -> dict[Place, str]:
    """Return the names of the roles of a class's machines, by place."""
    names, runner = settings.names, settings.runners[runner_class]
    if isinstance(runner, DockerRunner):
        return {Place.HOST: names.manager_role(runner_class)}
    workers = {Place.HOST: names.worker_role(runner_class)} if isinstance(runner, AutoscalerRunner) else {}
    return {**workers, Place.MANAGER: names.manager_role(runner_class)}


def roles_beside(settings: Settings, runner_class: str) -> dict[str, str]:
    """Return the ARNs, by name, of the roles in the platform's account that no job of a class may become.

    These are the roles of machines and their jobs; for a class on machines also the job roles of all other classes.
    """
    names, account = settings.names, settings.platform_account.id
    machines = settings.machine_classes
    roles = [role for name in machines for role in hosts(settings, name).values()]
    classes = settings.runners if runner_class in machines else machines
    roles += [names.job_role(name) for name in classes if name != runner_class]
    return {role: names.role_arn(account, role) for role in roles}


def _beside(settings: Settings, runner_class: str) -> Attempt:
    """Ask for any identity in a container that is no job's."""
    identity = Identity(stack=settings.stack, runner_class=runner_class, place=Place.BESIDE)
    caller = f"{job_account(settings, runner_class)}, another container"
    return stranger(identity, caller, DEFAULT_PROFILE, NO_CREDENTIALS, job_key(settings, runner_class))


def _metadata(settings: Settings, runner_class: str) -> Attempt:
    """Ask, as a job, for the job role with the machine's credentials. The machine may assume it, so only the metadata service can refuse."""
    own_role = settings.names.role_arn(settings.platform_account.id, settings.names.job_role(runner_class))
    text = section(settings, MACHINE, own_role, *CREDENTIAL_SOURCE)
    identity = Identity(stack=settings.stack, runner_class=runner_class, profiles=text)
    caller = f"{job_account(settings, runner_class)} with the machine's credentials"
    return stranger(identity, caller, MACHINE, NO_CREDENTIALS, job_key(settings, runner_class))


def _host(settings: Settings, runner_class: str, place: Place, role: str) -> Iterator[Attempt]:
    """Ask, as a machine in its own role, for delegated roles, and for the roles of other machines and of jobs that it does not run."""
    names, account = settings.names, settings.platform_account.id
    roles = roles_of_class(settings, runner_class)
    roles |= {name: arn for name, arn in roles_beside(settings, runner_class).items() if name != role}
    if place is Place.MANAGER:
        job_role = names.job_role(runner_class)
        roles[job_role] = names.role_arn(account, job_role)
    region = {"region": settings.organization.region, "sts_regional_endpoints": "regional"}
    text = aws_config_text({f"profile {OWN_ROLE}": region}) + sections(settings, roles, *CREDENTIAL_SOURCE)
    identity = Identity(stack=settings.stack, runner_class=runner_class, place=place, profiles=text)
    caller = f"{job_account(settings, runner_class)}, the {'manager' if place is Place.MANAGER else 'machine'} itself"
    yield from in_own_role(identity, caller, names.role_arn(account, role), roles)
