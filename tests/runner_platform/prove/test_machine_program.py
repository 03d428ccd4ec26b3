"""The program that `prove` runs on a machine: the containers that it starts, and what it answers. Docker is a script of the test."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner_platform.prove import machine_program

pytestmark = pytest.mark.processes

DOCKER = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *doctor*) echo '{{"rows": []}}';; *broken*) echo no such image >&2; exit 125;; *) echo '{{"kind": "NoCredentials"}}';; esac
"""
PROBE = "import json, os, sys; print(json.dumps({'arn': sys.argv[1], 'config': open(os.environ['AWS_CONFIG_FILE']).read()}))"


def run(folder: Path, **plan: Any) -> tuple[dict[str, Any], list[str], str]:
    """Return the answer, the command lines of the containers, and standard error."""
    (folder / "own").write_text("[profile base]\n")
    log, docker = folder / "log", folder / "docker"
    docker.write_text(DOCKER.format(log=log))
    docker.chmod(0o755)
    whole = {
        "image": "image",
        "options": ["--volume=/a:/b:ro"],
        "limits": ["--memory", "1g"],
        "region": "eu-central-1",
        "config": str(folder / "own"),
        "doctor": False,
        "python": "/python",
        "probe": PROBE,
        "callers": [],
        **plan,
    }
    argument = base64.b64encode(gzip.compress(json.dumps(whole).encode())).decode()
    done = subprocess.run(
        [sys.executable, "-c", Path(machine_program.__file__).read_text(), argument],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(gzip.decompress(base64.b64decode(done.stdout)))
    return answer, log.read_text().splitlines() if log.exists() else [], done.stderr


def test_doctor_runs_in_a_container_like_a_job_s(tmp_path: Path) -> None:
    answer, containers, _ = run(tmp_path, doctor=True)
    assert json.loads(answer["doctor"]) == {"rows": []}
    assert containers == ["run --rm --memory 1g --volume=/a:/b:ro image doctor --json"]


def test_a_machine_asks_with_its_own_python_and_the_caller_s_profiles(tmp_path: Path) -> None:
    answer, containers, _ = run(
        tmp_path, callers=[{"place": "host", "profiles": "[profile own]\n", "ask": ["own", ""]}]
    )
    lines = [json.loads(line) for line in answer["answers"][0]]
    assert [line["arn"] for line in lines] == ["own", ""]
    assert {line["config"] for line in lines} == {"[profile own]\n"}
    assert containers == []


def test_a_job_asks_in_one_container_with_its_config_and_profiles_of_its_own(tmp_path: Path) -> None:
    callers = [{"place": "job", "profiles": "[profile x]\n", "ask": ["x", "y"]}]
    answer, (container,), _ = run(tmp_path, callers=callers)
    assert answer["answers"] == [['{"kind": "NoCredentials"}']]
    assert "--volume=/a:/b:ro" in container
    assert "--env AWS_CONFIG_FILE=/etc/runner-platform/prove/config image -c" in container
    assert container.endswith("sh /python /etc/runner-platform/prove/probe.py x y")


def test_another_container_has_no_mount_and_no_config(tmp_path: Path) -> None:
    _, (container,), _ = run(tmp_path, callers=[{"place": "beside", "profiles": "", "ask": [""]}])
    assert "/a:/b" not in container
    assert "AWS_CONFIG_FILE=/dev/null" in container


def test_a_container_that_does_not_start_says_why_on_standard_error(tmp_path: Path) -> None:
    answer, _, errors = run(tmp_path, image="broken", callers=[{"place": "beside", "profiles": "", "ask": [""]}])
    assert answer["answers"] == [[]]
    assert errors == "no such image\n"
