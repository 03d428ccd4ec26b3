"""The CNI plugin that leads a pod's loopback to the sandbox."""

from __future__ import annotations

import io
import json
import subprocess
from typing import Any

import pytest

from runner_platform_sandbox.real_node import pod_ports

RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "198.18.0.2/16"}]}


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, code: int
) -> tuple[int, str, Any]:
    """Call the plugin, and return its exit code, the rules that it set and its answer."""
    rules = []

    def run(_: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        rules.append(options["input"])
        return subprocess.CompletedProcess([], code, stdout="", stderr="no such table")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("CNI_COMMAND", command)
    monkeypatch.setenv("CNI_NETNS", "/run/netns/pod")
    settings = {**pod_ports.configuration("pod-ports", [4001, 4002], "198.18.0.1"), "prevResult": RESULT}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(settings)))
    status = pod_ports.main()
    output = capsys.readouterr().out
    return status, "".join(rules), json.loads(output) if output else None


def test_a_new_pod_gets_its_rules_and_keeps_the_result_of_the_chain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, rules, answer = call(monkeypatch, capsys, "ADD", 0)
    assert (status, answer) == (0, RESULT)
    assert "-d 127.0.0.1/32 -p tcp -m multiport --dports 4001,4002 -j DNAT --to-destination 198.18.0.1" in rules


def test_a_failure_names_its_cause_for_the_kubelet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, answer = call(monkeypatch, capsys, "ADD", 1)
    assert (status, answer["msg"]) == (1, "no such table")


def test_a_pod_that_ends_needs_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, capsys, "DEL", 0) == (0, "", None)


def test_more_ports_than_a_rule_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 15 ports of the sandbox, and there are 16"):
        pod_ports.configuration("pod-ports", list(range(16)), "198.18.0.1")
