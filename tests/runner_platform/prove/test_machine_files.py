"""Files and variables of attempts on machines: a real host program runs, beside a program of the test that plays the instances."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.names import IDENTITY_FOLDER
from runner_platform.errors import FailedError
from runner_platform.prove import deployed_machines
from runner_platform.prove.attempts import Identity, Place
from runner_platform.prove.job_files import JobFiles
from runner_platform.prove.machine_files import MACHINES_VARIABLE
from runner_platform.prove.tokens import Tokens
from tests.support.machine_stack import Ec2, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.processes

SETTINGS = small_stack()
PLAYER = """
import json, pathlib, sys
log = pathlib.Path({log!r})
log.open("a").write(" ".join(sys.argv[1:]) + "\\n")
print(json.dumps({{"endpoint": "http://127.0.0.1:1/" + sys.argv[3]}}), flush=True)
sys.stdin.read()
log.open("a").write("end\\n")
"""
HOST = """
import json, os, pathlib, sys
assert sys.argv[1:] == ["credentials", "--once"]
etc, run = (pathlib.Path(os.environ[name]) for name in ("RUNNER_PLATFORM_ETC", "RUNNER_PLATFORM_RUN"))
folder = run / "runner-platform/aws"
folder.mkdir(parents=True)
(folder / "config").write_text((etc / "aws-config").read_text())
(folder / "credentials.json").write_text(json.dumps(dict(os.environ)))
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a program that plays instances."""
    player, log = tmp_path / "player.py", tmp_path / "log"
    player.write_text(PLAYER.format(log=str(log)))
    monkeypatch.setenv(MACHINES_VARIABLE, shlex.join([sys.executable, str(player)]))
    monkeypatch.setenv("RUNNER_PLATFORM_JOB_ENDPOINT", "http://127.0.0.1:2")
    return log


def job_files(root: Path, *, program: str = HOST, hops: int = 1) -> JobFiles:
    ec2 = Ec2([SETTINGS])
    classes = {}
    for name in SETTINGS.machine_classes:
        group = deployed_machines.groups(SETTINGS, name)[Place.HOST]
        ec2.templates[group]["MetadataOptions"]["HttpPutResponseHopLimit"] = hops
        deployed = deployed_machines.read_class(ec2, SETTINGS, name)
        host = deployed.machines[Place.HOST]
        files = {**host.files, host.program("credentials"): program}
        machines = {**deployed.machines, Place.HOST: replace(host, files=files)}
        classes["small", name] = replace(deployed, machines=machines)
    root.mkdir()
    return JobFiles(root, classes, Tokens({}))


@pytest.fixture
def files(tmp_path: Path, log: Path) -> Iterator[JobFiles]:
    assert not log.exists()
    with job_files(tmp_path / "files") as made:
        yield made


def identity(**more: Any) -> Identity:
    return Identity(**{"stack": "small", "runner_class": "small", **more})


def test_a_job_has_what_the_deployed_program_wrote_at_paths_of_this_machine(files: JobFiles, log: Path) -> None:
    variables = files.write(identity())
    config = Path(variables["AWS_CONFIG_FILE"])
    assert variables["AWS_SDK_LOAD_CONFIG"] == "1"
    assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" not in variables
    text = config.read_text()
    assert f"credential_process = cat {config.parent}/credentials.json" in text
    assert IDENTITY_FOLDER not in text
    seen = (config.parent / "credentials.json").read_text()
    assert "http://127.0.0.1:1/runner-small-small" in seen, "the program asks the metadata service of its own group"
    assert "http://127.0.0.1:2" in seen, "and STS at the jobs' endpoint"
    assert log.read_text() == f"{SETTINGS.platform_account.id} eu-central-1 runner-small-small\n"


def test_each_identity_has_files_of_its_own_and_a_machine_starts_once(files: JobFiles, log: Path) -> None:
    first, second = files.write(identity()), files.write(identity(profiles="\n[profile x]\nregion = y\n"))
    assert "[profile x]" in Path(second["AWS_CONFIG_FILE"]).read_text()
    assert "[profile x]" not in Path(first["AWS_CONFIG_FILE"]).read_text()
    assert log.read_text().count("runner-small-small") == 1


def test_a_machine_itself_has_the_metadata_service_and_its_own_profiles_alone(files: JobFiles) -> None:
    for place, group in ((Place.HOST, "runner-medium-workers-small"), (Place.MANAGER, "runner-medium-small")):
        profiles = "[profile own]\nregion = eu-central-1\n"
        variables = files.write(identity(runner_class="medium", place=place, profiles=profiles))
        assert Path(variables.pop("AWS_CONFIG_FILE")).read_text() == profiles
        assert variables == {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:1/{group}",
            "AWS_EC2_METADATA_DISABLED": "false",
        }


def test_another_container_has_nothing(files: JobFiles) -> None:
    assert files.write(identity(place=Place.BESIDE)) == {"AWS_DEFAULT_REGION": "eu-central-1"}


def test_a_hop_limit_of_two_opens_the_metadata_service_to_all_containers(tmp_path: Path, log: Path) -> None:
    assert not log.exists()
    with job_files(tmp_path / "files", hops=2) as files:
        for place in (Place.JOB, Place.BESIDE):
            variables = files.write(identity(place=place))
            assert variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == "http://127.0.0.1:1/runner-small-small"


def test_the_machines_end_with_the_proof(tmp_path: Path, log: Path) -> None:
    with job_files(tmp_path / "files") as files:
        files.write(identity())
        assert "end" not in log.read_text()
    assert log.read_text().endswith("end\n")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('no boto3')", "gives jobs no session: no boto3"),
        ("import sys; sys.stderr.write('no session of the job role: denied')", "no session of the job role: denied"),
    ],
)
def test_a_program_that_gives_no_session_is_quoted(tmp_path: Path, log: Path, program: str, words: str) -> None:
    assert not log.exists()
    with (
        job_files(tmp_path / "files", program=program) as files,
        pytest.raises(FailedError, match=f"host program of launch template runner-small-small .*{words}"),
    ):
        files.write(identity())


def test_without_a_program_that_plays_instances_the_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MACHINES_VARIABLE, raising=False)
    with job_files(tmp_path / "files") as files, pytest.raises(FailedError, match=f"{MACHINES_VARIABLE} is not set"):
        files.write(identity())


def test_a_group_that_cannot_be_played_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MACHINES_VARIABLE, f"{sys.executable} -c 'raise SystemExit(\"no instance\")'")
    with (
        job_files(tmp_path / "files") as files,
        pytest.raises(FailedError, match="runner-small-small can be played: no"),
    ):
        files.write(identity())
