"""Classes on machines tried where their jobs run: by a command of Systems Manager on an instance of the class.

`doctor` runs in a container of the runner image with the volumes and variables of the class, as in a job. Strangers are tried on the same
machine: in a job's container with profiles of their own, in another container, and on the machine itself. No port is opened and no key is
used. An autoscaled class needs an instance that runs now: each job starts one, and the plugin keeps it for ten minutes.
Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.exceptions

from config import load
from runner_platform.errors import FailedError
from runner_platform.prove import deployed_machines, doctor_jobs, machine_program
from runner_platform.prove.attempts import Place, Way
from runner_platform.prove.deployed_machines import TASKS
from runner_platform.prove.results import Answer, Result, broken, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from config.settings import Settings
    from runner_platform.prove.attempts import Attempt, Identity
    from runner_platform.prove.deployed import ClassKey
    from runner_platform.prove.deployed_machines import DeployedMachines
    from runner_platform.prove.results import Roles
    from runner_platform.prove.targets import Targets

DOCUMENT = "AWS-RunShellScript"
WAIT_SECONDS = 15 * 60
PAUSE_SECONDS = 2.0
DELIVERY_SECONDS = 120
"""How long Systems Manager tries to hand the command to the instance."""
IN_SERVICE = "InService"
RUNNING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
PROBE = load.ROOT / "image" / "probes" / "python" / "probe.py"
IMAGE_PYTHON = "/opt/runner-platform/bin/python"
LIMITS = ["--cap-drop", "NET_RAW", "--security-opt", "no-new-privileges", "--memory", "1g"]


class MachineError(FailedError):
    """An instance gave no answer; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a command, and how often to look."""

    seconds: float = WAIT_SECONDS
    pause: float = PAUSE_SECONDS
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the proof is interrupted."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What one machine is asked for."""

    key: ClassKey
    deployed: DeployedMachines
    place: Place
    """`HOST` or `MANAGER`."""
    of_class: Sequence[Attempt]
    """Attempts of regular jobs."""
    of_strangers: Sequence[Attempt]

    @property
    def group(self) -> str:
        """Auto Scaling group of the machine."""
        return self.deployed.machines[self.place].group

    @property
    def identities(self) -> list[Identity]:
        """Callers among the strangers, in the order of their answers."""
        return list(dict.fromkeys(attempt.identity for attempt in self.of_strangers))

    def plan(self) -> dict[str, Any]:
        """Return the plan for `machine_program`."""
        deployed = self.deployed
        options = [f"--volume={source}:{target}:ro" for target, source in deployed.mounts.items()]
        options += [f"--env={name}={value}" for name, value in deployed.variables.items()]
        return {
            "image": deployed.image,
            "options": options,
            "limits": LIMITS,
            "region": deployed.region,
            "config": deployed.on_machine(deployed.variables.get("AWS_CONFIG_FILE", "")),
            "doctor": bool(self.of_class),
            "python": IMAGE_PYTHON,
            "probe": PROBE.read_text(),
            "callers": [
                {
                    "place": Place.HOST if identity.place is Place.MANAGER else identity.place,
                    "profiles": identity.profiles,
                    "ask": [_argument(attempt) for attempt in self.of_strangers if attempt.identity == identity],
                }
                for identity in self.identities
            ],
        }


def results(
    targets: Targets,
    by_classes: Sequence[Attempt],
    by_strangers: Sequence[Attempt],
    roles: Roles,
    say: Callable[[str], None],
) -> list[Result]:
    """Try all classes on machines at the same time, and return the results of the attempts that belong to them.

    As with pods, `doctor` does not try the profiles that a class must not have.

    Args:
        targets: deployed classes.
        by_classes: attempts of all classes.
        by_strangers: attempts of all strangers.
        roles: role ARNs by account id and name.
        say: prints a line for the reader.
    """
    machine_keys = {(settings.stack, name) for settings in _stacks(targets) for name in settings.machine_classes}
    unusable = [
        result
        for key in machine_keys.intersection(targets.problems)
        for result in broken(_of(key, [*by_classes, *by_strangers]), targets.problems[key])
    ]
    errands, not_tried = _errands(targets, by_classes, by_strangers)
    patience = Patience()
    with ThreadPoolExecutor(max(len(errands), 1)) as pool:
        try:
            by_errand = list(pool.map(lambda errand: _run(targets, errand, patience, roles, say), errands))
        finally:
            patience.cancelled.set()
    return [*unusable, *not_tried, *(result for errand_results in by_errand for result in errand_results)]


def _stacks(targets: Targets) -> list[Settings]:
    return [targets.settings, *targets.neighbours]


def _of(key: ClassKey, attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if (attempt.identity.stack, attempt.identity.runner_class) == key]


def _errands(
    targets: Targets, by_classes: Sequence[Attempt], by_strangers: Sequence[Attempt]
) -> tuple[list[Errand], list[Result]]:
    """Return an errand for each machine that is asked for something, and the results of attempts that no machine can make."""
    errands: list[Errand] = []
    not_tried: list[Result] = []
    for key, deployed in targets.machines.items():
        regular, strangers = _of(key, by_classes), _of(key, by_strangers)
        for place in (Place.HOST, Place.MANAGER):
            own = [attempt for attempt in strangers if _machine_of(attempt.identity) is place]
            of_class = regular if place is Place.HOST else []
            if place in deployed.machines and (own or of_class):
                errands.append(Errand(key=key, deployed=deployed, place=place, of_class=of_class, of_strangers=own))
            elif place not in deployed.machines:
                not_tried += broken([*of_class, *own], TASKS)
    return errands, not_tried


def _machine_of(identity: Identity) -> Place:
    return Place.MANAGER if identity.place is Place.MANAGER else Place.HOST


def _argument(attempt: Attempt) -> str:
    return attempt.profile if attempt.way is Way.NAMED else ""


def _run(
    targets: Targets, errand: Errand, patience: Patience, roles: Roles, say: Callable[[str], None]
) -> list[Result]:
    """Carry out an errand; every attempt is BROKEN if the machine gives no answer."""
    settings = next(settings for settings in _stacks(targets) if settings.stack == errand.key[0])
    try:
        session = deployed_machines.session_of(settings)
        instance = find_instance(session.client("autoscaling"), errand)
        say(f"running doctor and probes on instance {instance} of group {errand.group}")
        answer = send(session.client("ssm"), instance, errand.plan(), patience)
        return read(errand, answer, roles)
    except FailedError as error:
        return broken([*errand.of_class, *errand.of_strangers], str(error))
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        return broken([*errand.of_class, *errand.of_strangers], f"AWS refuses the command on {errand.group}: {error}")


def find_instance(autoscaling: Any, errand: Errand) -> str:
    """Return the id of an instance in service, the oldest one in the group's own order.

    Raises:
        MachineError: there is none; for an autoscaled class the message says how to start one.
    """
    answer = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[errand.group])["AutoScalingGroups"]
    for instance in answer[0]["Instances"] if answer else []:
        if instance["LifecycleState"] == IN_SERVICE:
            return str(instance["InstanceId"])
    name = errand.key[1]
    if errand.place is Place.HOST and Place.MANAGER in errand.deployed.machines:
        raise MachineError(
            f"not tried: class {name} has no instance now. Start a job of the class that uses the runner image, and prove again "
            "while the job runs or within ten minutes"
        )
    raise MachineError(
        f"not tried: group {errand.group} has no instance in service; `aws autoscaling describe-scaling-activities "
        f"--auto-scaling-group-name {errand.group}` says why"
    )


def send(ssm: Any, instance: str, plan: Mapping[str, Any], patience: Patience) -> dict[str, Any]:
    """Run a plan on an instance and return the answer of `machine_program`.

    Raises:
        MachineError: the instance is not managed by Systems Manager, or the command failed.
    """
    program = _packed(Path(machine_program.__file__).read_text().encode())
    argument = _packed(json.dumps(plan).encode())
    command = f'export HOME=/root; exec python3 -c "$(echo {program} | base64 -d | gunzip)" {argument}'
    try:
        sent = ssm.send_command(
            InstanceIds=[instance],
            DocumentName=DOCUMENT,
            Comment="runner-platform prove",
            TimeoutSeconds=DELIVERY_SECONDS,
            Parameters={"commands": [command], "executionTimeout": [str(WAIT_SECONDS)]},
        )
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "InvalidInstanceId":
            raise
        raise MachineError(
            f"Systems Manager does not reach instance {instance}: its agent does not run, or the way to the endpoints ssm and ssmmessages is closed"
        ) from None
    invocation = _ended(ssm, sent["Command"]["CommandId"], instance, patience)
    output, errors = invocation["StandardOutputContent"], " ".join(invocation["StandardErrorContent"].split())[-300:]
    try:
        answer: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(output.split()[-1])))
    except (ValueError, OSError, IndexError, EOFError):
        raise MachineError(
            f"the command on instance {instance} ended as {invocation['StatusDetails']} without an answer: {errors or 'it says nothing'}"
        ) from None
    return {**answer, "errors": errors}


def _ended(ssm: Any, command: str, instance: str, patience: Patience) -> dict[str, Any]:
    """Wait until a command has ended, successfully or not."""
    deadline = time.monotonic() + patience.seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ssm.exceptions.InvocationDoesNotExist):  # just after it was sent
            invocation: dict[str, Any] = ssm.get_command_invocation(CommandId=command, InstanceId=instance)
            if invocation["Status"] not in RUNNING:
                return invocation
        if patience.cancelled.wait(patience.pause):
            ssm.cancel_command(CommandId=command, InstanceIds=[instance])
            raise MachineError(f"the proof was interrupted before command {command} on instance {instance} ended")
    raise MachineError(f"command {command} on instance {instance} did not end within {patience.seconds:.0f} s")


def _packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


def read(errand: Errand, answer: Mapping[str, Any], roles: Roles) -> list[Result]:
    """Return the results of an errand's attempts.

    Args:
        errand: the errand.
        answer: answer of `machine_program`, and the end of its `errors`.
        roles: role ARNs by account id and name.
    """
    errand_results: list[Result] = []
    if errand.of_class:
        try:
            errand_results += doctor_jobs.read(
                errand.of_class, doctor_jobs.parse(answer["doctor"] or answer["errors"]), roles
            )
        except FailedError as error:
            errand_results += broken(errand.of_class, str(error))
    lines: dict[Identity, list[str]] = dict(zip(errand.identities, answer["answers"], strict=True))
    for identity in errand.identities:
        attempts = [attempt for attempt in errand.of_strangers if attempt.identity == identity]
        for attempt, line in zip(attempts, [*lines[identity], *[""] * len(attempts)], strict=False):
            errand_results.append(result_of(attempt, _answer(line, str(answer["errors"])), roles))
    return errand_results


def _answer(line: str, errors: str) -> Answer:
    try:
        return Answer.of(json.loads(line))
    except ValueError:
        return Answer(error=line or errors or "the probe printed nothing", kind="Crashed")
