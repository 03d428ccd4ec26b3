"""An ECS that plays what a test says, behind a real botocore client: requests and answers are held against AWS's API model.

The client makes and signs each request as on a machine. Answers that the model does not have fail the test, so a field with a wrong name
cannot make the driver work here alone.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTER = "arn:aws:ecs:eu-central-1:222222222222:cluster/runner-big"
DEFINITION = "arn:aws:ecs:eu-central-1:222222222222:task-definition/runner-big:7"
PLACEMENT = {"subnets": ["subnet-0a", "subnet-0b"], "security_group": "sg-0tasks", "task_definition": DEFINITION}
SERVICES = ("ecs", "ssm")

Answer = dict[str, Any]


class ApiError(Exception):
    """An error that AWS answers with; its arguments are code and message."""

    @property
    def code(self) -> str:
        """Name of the error in the API."""
        return str(self.args[0])


@dataclass
class FakeEcs:
    """Tasks of one cluster, and the parameter that says where they start."""

    life: tuple[str, ...] = ("PROVISIONING", "PENDING", "RUNNING")
    """Statuses that a task has, one for each description; the last one stays."""
    refusals: list[Exception | str] = field(default_factory=list)
    """Errors, or reasons of failures, with which the next requests for tasks are answered."""
    ending: Answer = field(default_factory=dict)
    """Fields of a task that has stopped."""
    address: str = "10.42.0.7"
    tasks: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, Answer]] = field(default_factory=list)
    """Operations and parameters, in order."""
    after: Callable[[str], None] | None = None
    """What happens after an operation, with its name."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _by_token: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Return a real client whose requests come here."""
        client, event = _client(service), f"before-send.{service}.*"
        client.meta.events.unregister(event, unique_id="fake")
        client.meta.events.register(event, self._send, unique_id="fake")
        return client

    def operations(self) -> list[str]:
        """Return the names of the operations, in order."""
        return [name for name, _ in self.requests]

    def parameters(self, operation: str) -> list[Answer]:
        """Return the parameters of each call of an operation."""
        return [parameters for name, parameters in self.requests if name == operation]

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        name = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        status, answer = self.answer(name, json.loads(request.body))
        return AWSResponse(
            request.url, status, {"content-type": "application/x-amz-json-1.1"}, _Body(json.dumps(answer).encode())
        )

    def answer(self, name: str, parameters: Answer) -> tuple[int, Answer]:
        """Return status and body for an operation, after both have passed the API model."""
        _hold(name, "input_shape", parameters)
        self.requests.append((name, parameters))
        try:
            answer = getattr(self, f"_{name}")(**parameters)
        except ApiError as error:
            return 400, {"__type": error.code, "message": error.args[1]}
        finally:
            if self.after is not None:
                self.after(name)
        _hold(name, "output_shape", answer)
        return 200, answer

    def _RunTask(self, clientToken: str, startedBy: str, **_: Any) -> Answer:  # noqa: N802, N803  # AWS's names
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            return {"tasks": [], "failures": [{"reason": refusal}]}
        if clientToken not in self._by_token:
            arn = f"arn:aws:ecs:eu-central-1:222222222222:task/runner-big/{next(self._numbers):032x}"
            self._by_token[clientToken] = arn
            self.tasks[arn] = {"taskArn": arn, "startedBy": startedBy, "desiredStatus": "RUNNING", "age": -1}
        return {"tasks": [self._shown(self.tasks[self._by_token[clientToken]])], "failures": []}

    def _DescribeTasks(self, tasks: list[str], **_: Any) -> Answer:  # noqa: N802
        for arn in tasks:
            if arn in self.tasks:
                self.tasks[arn]["age"] = min(self.tasks[arn]["age"] + 1, len(self.life) - 1)
        return {"tasks": [self._shown(self.tasks[arn]) for arn in tasks if arn in self.tasks], "failures": []}

    def _ListTasks(self, startedBy: str | None = None, desiredStatus: str = "RUNNING", **_: Any) -> Answer:  # noqa: N802, N803
        arns = [
            arn
            for arn, task in self.tasks.items()
            if task["desiredStatus"] == desiredStatus and startedBy in {None, task["startedBy"]}
        ]
        return {"taskArns": arns}

    def _StopTask(self, task: str, **_: Any) -> Answer:  # noqa: N802
        if task not in self.tasks:
            raise ApiError("InvalidParameterException", "The referenced task was not found.")
        self.tasks[task]["desiredStatus"] = "STOPPED"
        return {"task": self._shown(self.tasks[task])}

    def _GetParameter(self, Name: str, **_: Any) -> Answer:  # noqa: N802, N803
        return {"Parameter": {"Name": Name, "Type": "String", "Value": json.dumps(PLACEMENT)}}

    def _shown(self, task: Answer) -> Answer:
        status = self.life[max(task["age"], 0)]
        details = [{"name": "subnetId", "value": "subnet-0a"}, {"name": "privateIPv4Address", "value": self.address}]
        shown = {
            "taskArn": task["taskArn"],
            "clusterArn": CLUSTER,
            "startedBy": task["startedBy"],
            "desiredStatus": task["desiredStatus"],
            "lastStatus": status,
            "attachments": [{"type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}],
        }
        return {**shown, **(self.ending if status == "STOPPED" else {})}


@dataclass
class _Body:
    """The raw answer, as botocore reads it."""

    content: bytes

    def stream(self, **_: Any) -> Any:
        """Yield the answer at once."""
        yield self.content


@cache
def _models() -> list[Any]:
    loaded = botocore.session.get_session()
    return [loaded.get_service_model(service) for service in SERVICES]


def _hold(name: str, shape: str, values: Answer) -> None:
    """Hold values against AWS's API model."""
    model = getattr(_operation(name), shape)
    report = ParamValidator().validate(values, model)
    unknown = set(values) - set(model.members)
    assert not report.has_errors(), f"{name}: {report.generate_report()}"
    assert not unknown, f"{name} has no {unknown}"


@cache
def _operation(name: str) -> Any:
    for model in _models():
        if name in model.operation_names:
            return model.operation_model(name)
    raise AssertionError(f"no service has the operation {name}")


@cache
def _client(service: Any) -> Any:
    session = boto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="example")
    return session.client(service, region_name="eu-central-1")
