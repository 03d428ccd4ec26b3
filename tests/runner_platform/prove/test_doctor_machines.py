"""Classes tried on their machines: the commands of Systems Manager, held to the SDK's model of the API, and the results of their answers."""

from __future__ import annotations

import base64
import gzip
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from config import load
from runner_platform.prove import attempts, deployed_machines, doctor_machines, strangers
from runner_platform.prove.attempts import REFUSED, Attempt, Place
from runner_platform.prove.doctor_machines import Errand, MachineError, Patience
from runner_platform.prove.results import roles_in, with_controls
from runner_platform.prove.targets import Targets
from tests.support.machine_stack import RUNNERS, Ec2, small_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from config.settings import Settings
    from runner_platform.prove.results import Result

SETTINGS = small_stack()
ACCOUNTS = load.of_foundation().accounts
INSTANCE = "i-0123456789abcdef0"
AT_ONCE = Patience(seconds=5, pause=0)


def plan_of(settings: Settings = SETTINGS) -> tuple[list[Attempt], list[Attempt]]:
    quick = attempts.Scope.of(everything=False)
    return list(attempts.of_classes(settings, ACCOUNTS, quick)), list(strangers.of_stack(settings, ACCOUNTS, []))


def targets_of(settings: Settings = SETTINGS) -> Targets:
    ec2 = Ec2([settings])
    machines = {
        (settings.stack, name): deployed_machines.read_class(ec2, settings, name) for name in settings.machine_classes
    }
    return Targets(settings=settings, machines=machines)


@cache
def errands() -> dict[str, Errand]:
    made, _ = doctor_machines._errands(targets_of(), *plan_of())
    return {errand.group: errand for errand in made}


@cache
def client_of(service: Any) -> Any:
    return boto3.client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")


def packed(value: Any) -> str:
    return base64.b64encode(gzip.compress(json.dumps(value).encode())).decode()


def answer(errand: Errand) -> dict[str, Any]:
    """Return what a machine answers if everything is as the settings say."""
    lines = [
        [
            json.dumps({"arn": attempt.expected})
            if attempt.expected != REFUSED
            else json.dumps({"error": "refused", "kind": next(iter(attempt.refusal_kinds))})
            for attempt in errand.of_strangers
            if attempt.identity == identity
        ]
        for identity in errand.identities
    ]
    rows = [
        {"profile": attempt.profile, "sdk": attempt.sdk, "way": attempt.way, "got": attempt.expected}
        for attempt in errand.of_class
        if attempt.expected != REFUSED
    ]
    return {"doctor": json.dumps({"rows": rows}) if errand.of_class else None, "answers": lines}


@pytest.fixture
def ssm() -> Iterator[tuple[Any, Stubber]]:
    client = client_of("ssm")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def expect_command(stub: Stubber) -> None:
    expected = {
        "InstanceIds": [INSTANCE],
        "DocumentName": "AWS-RunShellScript",
        "Comment": "runner-platform prove",
        "TimeoutSeconds": 120,
        "Parameters": ANY,
    }
    stub.add_response("send_command", {"Command": {"CommandId": "c" * 36}}, expected)


def expect_invocation(stub: Stubber, status: str, output: str = "", errors: str = "") -> None:
    response = {
        "Status": status,
        "StatusDetails": status,
        "StandardOutputContent": output,
        "StandardErrorContent": errors,
    }
    stub.add_response("get_command_invocation", response, {"CommandId": "c" * 36, "InstanceId": INSTANCE})


def test_a_command_is_sent_once_and_waited_for(ssm: tuple[Any, Stubber]) -> None:
    client, stub = ssm
    expect_command(stub)
    stub.add_client_error("get_command_invocation", "InvocationDoesNotExist")
    expect_invocation(stub, "InProgress")
    expect_invocation(stub, "Success", f"a motd\n{packed({'doctor': None, 'answers': []})}\n", "a\n warning")
    assert doctor_machines.send(client, INSTANCE, {}, AT_ONCE) == {"doctor": None, "answers": [], "errors": "a warning"}


def test_the_command_carries_the_program_and_the_plan(ssm: tuple[Any, Stubber]) -> None:
    client, stub = ssm
    sent: list[dict[str, Any]] = []
    event, listener = "before-parameter-build.ssm.SendCommand", lambda params, **_: sent.append(params)
    client.meta.events.register(event, listener)
    expect_command(stub)
    expect_invocation(stub, "Success", packed({"doctor": None, "answers": []}))
    plan = errands()["runner-small-small"].plan()
    doctor_machines.send(client, INSTANCE, plan, AT_ONCE)
    client.meta.events.unregister(event, listener)
    (command,) = sent[0]["Parameters"]["commands"]
    match = re.fullmatch(r'export HOME=/root; exec python3 -c "\$\(echo (\S+) \| base64 -d \| gunzip\)" (\S+)', command)
    assert match
    assert b"def main" in gzip.decompress(base64.b64decode(match[1]))
    assert json.loads(gzip.decompress(base64.b64decode(match[2]))) == plan
    assert len(command) < 60_000, "the parameters of a command end at 64 KB"


def test_a_plan_has_the_class_s_mounts_and_variables_and_each_stranger_once() -> None:
    errand = errands()["runner-small-small"]
    plan = errand.plan()
    assert plan["options"] == [
        "--volume=/run/runner-platform/aws:/etc/runner-platform/aws:ro",
        "--env=AWS_CONFIG_FILE=/etc/runner-platform/aws/config",
        "--env=AWS_SDK_LOAD_CONFIG=1",
    ]
    assert (plan["doctor"], plan["config"]) == (True, "/run/runner-platform/aws/config")
    assert "/protected/runner:" in plan["image"]
    asked = [(caller["place"], profile) for caller in plan["callers"] for profile in caller["ask"]]
    assert len(asked) == len(set(asked)) == len(errand.of_strangers)
    assert {place for place, _ in asked} == {"job", "beside", "host"}
    assert ("beside", "") in asked, "no profile is an empty argument"


def test_an_autoscaled_class_has_errands_on_both_of_its_machines() -> None:
    made = errands()
    workers, manager = made["runner-medium-workers-small"], made["runner-medium-small"]
    assert workers.of_class
    assert not manager.of_class
    assert {identity.place for identity in manager.identities} == {Place.MANAGER}
    assert manager.plan()["callers"][0]["place"] == "host", "on its own machine"


@pytest.mark.parametrize("group", ["runner-small-small", "runner-medium-workers-small", "runner-medium-small"])
def test_an_answer_as_the_settings_say_makes_every_result_right(group: str) -> None:
    errand = errands()[group]
    planned = [*errand.of_class, *errand.of_strangers]
    results = doctor_machines.read(errand, {**answer(errand), "errors": ""}, roles_in(planned))
    assert [result.got for result in results if not result.ok] == []
    assert {result.attempt.key for result in results} == {
        attempt.key for attempt in planned if attempt.runner_class is None or attempt.expected != REFUSED
    }


def changed(change: Callable[[dict[str, Any]], None], errors: str = "") -> list[Result]:
    errand = errands()["runner-small-small"]
    changed_answer = {**answer(errand), "errors": errors}
    change(changed_answer)
    planned = [*errand.of_class, *errand.of_strangers]
    return [result for result in doctor_machines.read(errand, changed_answer, roles_in(planned)) if not result.ok]


def lines_of(value: dict[str, Any], place: str) -> list[str]:
    callers = errands()["runner-small-small"].plan()["callers"]
    lines: list[str] = next(
        lines for caller, lines in zip(callers, value["answers"], strict=True) if caller["place"] == place
    )
    return lines


def test_a_machine_whose_metadata_reaches_containers_is_found() -> None:
    role = "arn:aws:sts::222222222222:assumed-role/runner-manager-small-small/i-1"

    def leak(value: dict[str, Any]) -> None:
        lines_of(value, "beside")[:] = [json.dumps({"arn": role})]

    (wrong,) = changed(leak)
    assert wrong.got.endswith("role/cicd-small/runner-manager-small-small")
    assert wrong.attempt.expected == REFUSED


def test_a_container_that_does_not_start_breaks_its_attempts_with_the_reason() -> None:
    wrong = changed(lambda value: value.update(doctor=""), "docker: pull access denied")
    assert {result.got for result in wrong} == {
        "BROKEN: doctor in the runner image printed no JSON document: docker: pull access denied"
    }
    wrong = changed(lambda value: lines_of(value, "host").clear(), "no python3")
    assert {result.got for result in wrong} == {"BROKEN: no python3"}
    results = with_controls(wrong)
    assert not any(result.ok for result in results)


@pytest.mark.parametrize(
    ("status", "output", "errors", "words"),
    [
        ("Failed", "", "python3: not found", "ended as Failed without an answer: python3: not found"),
        ("TimedOut", "", "", "ended as TimedOut without an answer: it says nothing"),
        ("Success", "no base64", "", "without an answer"),
    ],
)
def test_a_command_without_an_answer_is_explained(
    ssm: tuple[Any, Stubber], status: str, output: str, errors: str, words: str
) -> None:
    client, stub = ssm
    expect_command(stub)
    expect_invocation(stub, status, output, errors)
    with pytest.raises(MachineError, match=words):
        doctor_machines.send(client, INSTANCE, {}, AT_ONCE)


def test_an_instance_without_an_agent_is_named(ssm: tuple[Any, Stubber]) -> None:
    client, stub = ssm
    stub.add_client_error("send_command", "InvalidInstanceId")
    with pytest.raises(MachineError, match=f"Systems Manager does not reach instance {INSTANCE}"):
        doctor_machines.send(client, INSTANCE, {}, AT_ONCE)


def test_an_interrupted_proof_cancels_its_command(ssm: tuple[Any, Stubber]) -> None:
    client, stub = ssm
    patience = Patience(seconds=60, pause=60)
    patience.cancelled.set()
    expect_command(stub)
    expect_invocation(stub, "Pending")
    stub.add_response("cancel_command", {}, {"CommandId": "c" * 36, "InstanceIds": [INSTANCE]})
    with pytest.raises(MachineError, match="interrupted before command"):
        doctor_machines.send(client, INSTANCE, {}, patience)


def found(states: Sequence[str], group: str) -> str:
    client = client_of("autoscaling")
    instances = [
        {
            "InstanceId": f"i-{number}",
            "LifecycleState": state,
            "AvailabilityZone": "eu-central-1a",
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": True,
        }
        for number, state in enumerate(states)
    ]
    description = {
        "AutoScalingGroupName": group,
        "MinSize": 0,
        "MaxSize": 1,
        "DesiredCapacity": 0,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["eu-central-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": 0,
        "Instances": instances,
    }
    with Stubber(client) as stub:
        response = {"AutoScalingGroups": [description] if states is not None else []}
        stub.add_response("describe_auto_scaling_groups", response, {"AutoScalingGroupNames": [group]})
        return doctor_machines.find_instance(client, errands()[group])


def test_the_first_instance_in_service_is_asked() -> None:
    assert found(["Terminating:Wait", "InService", "InService"], "runner-small-small") == "i-1"


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("runner-medium-workers-small", "not tried: class medium has no instance now. Start a job of the class"),
        ("runner-medium-small", "not tried: group runner-medium-small has no instance in service"),
        ("runner-small-small", "not tried: group runner-small-small has no instance in service"),
    ],
)
def test_a_class_without_an_instance_is_not_passed_over(group: str, words: str) -> None:
    with pytest.raises(MachineError, match=words):
        found(["Pending"], group)


def test_every_attempt_of_machines_gets_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The autoscaled class has no instance; the other one answers."""
    by_group = {errand.group: errand for errand in errands().values()}

    def find(_client: Any, errand: Errand) -> str:
        if errand.group == "runner-medium-workers-small":
            raise MachineError("not tried: no instance")
        return errand.group

    monkeypatch.setattr(doctor_machines, "find_instance", find)
    monkeypatch.setattr(doctor_machines, "send", lambda _ssm, group, *_: {**answer(by_group[group]), "errors": ""})
    session = type("Session", (), {"client": lambda _self, _service: None})()
    monkeypatch.setattr(doctor_machines.deployed_machines, "session_of", lambda _settings: session)
    by_classes, by_strangers = plan_of()
    planned = [*by_classes, *by_strangers]
    results = doctor_machines.results(targets_of(), by_classes, by_strangers, roles_in(planned), lambda _text: None)
    made = {result.attempt.key: result.got for result in results}
    missing = {attempt.key for attempt in planned} - set(made)
    assert {key[0] for key in missing} == {"machine/small"}, "profiles that its config must not have"
    not_tried = {key[0] for key, got in made.items() if got == "BROKEN: not tried: no instance"}
    assert not_tried == {
        "machine/medium",
        "machine/medium with a profile of its own",
        "machine/medium with the machine's credentials",
        "machine/medium, another container",
        "machine/medium, the machine itself",
    }


def test_jobs_on_fargate_are_not_passed_over() -> None:
    task = {"executor": "fargate", "level": "open", "cpu": "1", "memory": "2Gi", "concurrent": 2, "longest_job": "1h"}
    settings = small_stack({**RUNNERS, "big": task})
    made, not_tried = doctor_machines._errands(targets_of(settings), *plan_of(settings))
    assert "runner-big-small" in {errand.group for errand in made}, "its manager is a machine"
    broken = {result.attempt.caller for result in not_tried}
    assert broken == {"task/big", "task/big with a profile of its own"}
    assert all(result.got.startswith("BROKEN: not tried: ") for result in not_tried)
