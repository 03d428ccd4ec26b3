"""Doctor as a command: whom it asks and how, what it says of missing profiles and folders, and that it needs nothing but Python."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from components.documents.profiles import class_profiles
from config import load
from image.doctor import command, config, probes
from tests.components.documents.test_config_toml import settings_of
from tests.support.loopback import dead

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DOCTOR = load.ROOT / "image" / "doctor"


def test_every_profile_is_asked_by_every_family_in_every_way(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(class_profiles(settings_of("prod"), "small"))
    found = config.read(tmp_path / "config")
    asked = {(each.profile, each.sdk, each.way) for each in probes.attempts(found, ["cli", "go"])}
    named = {(name, sdk, way) for name in ("base", "cicd", "dev") for sdk in ("cli", "go") for way in ("named", "env")}
    assert asked == named | {("default", "cli", "default"), ("default", "go", "default")}
    only = probes.attempts(found, ["cli"], ["nowhere"])
    assert {(each.profile, each.way) for each in only} == {("nowhere", "named"), ("nowhere", "env")}


def test_a_probe_sees_the_job_s_environment_but_a_home_of_its_own(tmp_path: Path) -> None:
    script = "import json,os,sys; e=os.environ; print(json.dumps({'arn': '|'.join([sys.argv[1], e.get('AWS_PROFILE', '-'), e['JOB'], e['AWS_CONFIG_FILE'], e['AWS_SHARED_CREDENTIALS_FILE']]), 'kind': e['HOME']}))"
    wanted = [probes.Attempt(profile="dev", sdk="cli", way=way) for way in ("named", "env", "default")]
    around = {"HOME": str(tmp_path), "JOB": "1", "AWS_PROFILE": "other", "AWS_DEFAULT_PROFILE": "other"}
    answers = probes.run(wanted, {"cli": [sys.executable, "-c", script]}, around, tmp_path / "config")
    rest = f"1|{tmp_path}/config|{tmp_path}/.aws/credentials"
    assert [each.arn for each in answers] == [f"dev|-|{rest}", f"|dev|{rest}", f"|-|{rest}"]
    homes = {each.kind for each in answers}
    assert len(homes) == 3, "no session that one probe cached answers for the next"
    assert str(tmp_path) not in homes


def test_a_probe_that_cannot_run_is_an_answer(tmp_path: Path) -> None:
    wanted = [probes.Attempt(profile="dev", sdk="go", way="env")]
    (answer,) = probes.run(wanted, {"go": [str(tmp_path / "absent")]}, {"HOME": str(tmp_path)}, tmp_path / "config")
    assert answer.kind == "NotInstalled"


def doctor(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    surrounding = {"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", **environment}
    return subprocess.run(
        [sys.executable, "-I", str(DOCTOR), *arguments],
        env=surrounding,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_doctor_runs_by_itself_with_the_standard_library(tmp_path: Path) -> None:
    done = doctor({"HOME": str(tmp_path), "CI_JOB_ID": "7"}, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert (document["ok"], document["job"], document["rows"]) == (False, "7", [])
    assert "no-config" in {each["cause"] for each in document["findings"]}
    modules = f"import sys; sys.path.insert(0, {str(load.ROOT)!r}); import image.doctor.command; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", modules], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.partition(".")[0] for name in loaded} <= set(sys.stdlib_module_names) | {"image", "__main__"}


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    assert doctor({"HOME": str(tmp_path)}, "--nonsense").returncode == 2
    assert doctor({"HOME": str(tmp_path)}, "--sdk", "cobol").returncode == 2


def test_a_profile_of_another_class_is_told_from_one_of_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(class_profiles(settings_of("prod"), "small", token_file=str(tmp_path / "token")))
    (tmp_path / "classes" / "deploy").mkdir(parents=True)
    (tmp_path / "classes" / "deploy" / "config").write_text(class_profiles(settings_of("prod"), "deploy"))
    monkeypatch.setattr(config, "CLASSES", tmp_path / "classes")
    monkeypatch.setattr(probes, "run", lambda wanted, *_: [probes.Answer(error="Region is missing")] * len(wanted))
    around = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
    around |= {"AWS_ENDPOINT_URL_STS": dead()}
    found = command.examine({**around, "AWS_PROFILE": "prod"}, ["prod", "nowhere"])
    texts = {each.cause: each.text for each in found.findings}
    assert (
        "class small has no profile prod (it has default, base, cicd, dev); classes that do: deploy"
        in texts["class-without-account"]
    )
    assert "there is no profile nowhere" in texts["profile-missing"]
    assert not found.ok


def test_a_container_without_a_folder_for_temporary_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    (tmp_path / "config").write_text(class_profiles(settings_of("prod"), "small", token_file=str(tmp_path / "token")))
    monkeypatch.setattr(probes.tempfile, "TemporaryDirectory", read_only)
    around = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
    found = command.examine(around | {"AWS_ENDPOINT_URL_STS": dead()}, ["dev"], ["boto3"])
    assert "no folder for temporary files" in {each.cause: each.text for each in found.findings}["read-only-home"]
    assert not found.ok
