"""The policy pack in a process of its own, started as the language host starts it and asked as the engine asks it.

Owns the process and the five calls of the protocol. Leaves out what is sent (`shown`) and what the answers mean (`findings`). The pack may
come from another folder than the program, for example from a checkout of the target branch.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc

from runner_platform.check.places import MARKED
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BOOT_SECONDS = 60
STOP_SECONDS = 5
MESSAGE_SIZE = 400 * 1024 * 1024
"""Longest message in bytes, as the SDK's own server has it: a whole stack is one message."""
KEPT = ("HOME", "LANG", "PATH", "TMPDIR", "VIRTUAL_ENV")


class PackProcess:
    """A running pack; a context manager that ends it."""

    def __init__(self, folder: Path, project: str, stack: str, values: Mapping[str, Any]) -> None:
        """Start the pack; returns before it listens.

        Args:
            folder: the pack's folder.
            project: the project that it judges.
            stack: the stack that it judges.
            values: the stack's configuration by key, without the project's namespace.

        Raises:
            FailedError: there is no pack in the folder.
        """
        if not (folder / "PulumiPolicy.yaml").is_file():
            raise FailedError(
                f"{folder} holds no policy pack: there is no PulumiPolicy.yaml; name the folder `policies` of a checkout"
            )
        texts = {f"{project}:{key}": _text(value) for key, value in values.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(folder)],
            cwd=folder,
            env={
                **{name: os.environ[name] for name in KEPT if name in os.environ},
                "PULUMI_PROJECT": project,
                "PULUMI_STACK": stack,
                # Everything is known in a mock run and in a deployed state, so nothing may be deferred.
                "PULUMI_DRY_RUN": "false",
                "PULUMI_CONFIG": json.dumps(texts),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack = stack
        self.configuration: Mapping[str, Any] = {}
        """A level or an object of options by policy, `all` for all of them; handed over before the first resource."""
        self._stub: Any = None
        self._channel: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            self._channel.close()
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def analyzer(self) -> Any:
        """The protocol's stub; waits until the pack listens.

        Raises:
            FailedError: the pack ended instead, or never listened.
        """
        if self._stub is None:
            options = [
                ("grpc.max_send_message_length", MESSAGE_SIZE),
                ("grpc.max_receive_message_length", MESSAGE_SIZE),
            ]
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self._port()}", options=options)
            self._stub = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        return self._stub

    def _port(self) -> int:
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the pack's standard output is a pipe")
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            line = stdout.readline().strip() if waiting.select(BOOT_SECONDS) else ""
        if line.isdigit():
            return int(line)
        self._process.terminate()
        _, said = self._process.communicate()
        last = [each for each in said.splitlines() if each.strip()] or ["it said nothing"]
        raise FailedError(f"the policy pack did not start: {last[-1].strip()}")

    def info(self) -> Any:
        """Names, levels and configuration schemas of its policies."""
        return self._asked(lambda: self.analyzer.GetAnalyzerInfo(empty_pb2.Empty()))

    def rules(self) -> list[tuple[str, str]]:
        """Id and name of every rule."""
        return [(each.tags[0] if each.tags else each.name, each.name) for each in self.info().policies]

    def settings(self) -> dict[str, list[str]]:
        """Paths of the settings that each policy judges, by the policy's name."""
        return {
            policy.name: [tag.removeprefix(MARKED) for tag in policy.tags if tag.startswith(MARKED)]
            for policy in self.info().policies
        }

    def _configure(self) -> None:
        request = proto.ConfigureAnalyzerRequest()
        for policy in self.info().policies:
            value = self.configuration.get(policy.name, self.configuration.get("all", {}))
            options = dict(value) if isinstance(value, dict) else {"enforcementLevel": value}
            level = options.pop("enforcementLevel", None)
            entry = request.policyConfig[policy.name]
            entry.enforcementLevel = policy.enforcementLevel if level is None else LEVELS[level]
            entry.properties.update(options)
        self._asked(lambda: self.analyzer.Configure(request))

    def judge(self, resources: Iterable[Any], whole: Any) -> list[Any]:
        """Diagnostics of all resources one by one, then of the whole stack."""
        self._configure()
        found = [each for one in resources for each in self._asked(self._analyze(one)).diagnostics]
        return [*found, *self._asked(lambda: self.analyzer.AnalyzeStack(whole)).diagnostics]

    def _analyze(self, request: Any) -> Any:
        return lambda: self.analyzer.Analyze(request)

    def _asked(self, call: Any) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            details = str(error.details()) if isinstance(error, grpc.Call) else str(error)
            raise FailedError(f"the policy pack failed: {details.splitlines()[0]}") from None


LEVELS = {
    "advisory": proto.ADVISORY,
    "mandatory": proto.MANDATORY,
    "remediate": proto.REMEDIATE,
    "disabled": proto.DISABLED,
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
