"""The command doctor: its probes, missing profiles and folders; it needs the standard library only."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from components.documents.profiles import class_profiles
from config import load
from image.doctor import aws_config, examination, probes
from tests.support.class_settings import settings_of
from tests.support.loopback import closed_address

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DOCTOR = load.ROOT / "image" / "doctor"


def test_every_profile_is_tried_with_every_family_of_sdks_and_mode(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(class_profiles(settings_of("prod").runner_class("small")))
    config = aws_config.read(tmp_path / "config")
    attempts = probes.attempts(config, ["cli", "go"])
    combinations = {(attempt.profile, attempt.sdk, attempt.way) for attempt in attempts}
    named = {(name, sdk, way) for name in ("base", "cicd", "dev") for sdk in ("cli", "go") for way in ("named", "env")}
    assert combinations == named | {("default", "cli", "default"), ("default", "go", "default")}
    unknown = probes.attempts(config, ["cli"], ["nowhere"])
    assert {(attempt.profile, attempt.way) for attempt in unknown} == {("nowhere", "named"), ("nowhere", "env")}


def test_a_probe_gets_the_job_s_environment_and_a_new_home(tmp_path: Path) -> None:
    script = (
        "import glob,json,os,sys; e=os.environ; h=e['HOME']; files=sorted(glob.glob(h+'/*')+glob.glob(h+'/.aws/*'));"
        "words=[sys.argv[1],e.get('AWS_PROFILE','-'),e.get('AWS_DEFAULT_PROFILE','-'),e['JOB'],*(f[len(h)+1:] for f in files)];"
        "print(json.dumps({'arn': '|'.join(words), 'kind': h, 'error': open(h+'/.aws/config').read()}))"
    )
    for path in ("own", ".aws/config", ".aws/sso/cache", ".aws/cli/cache", ".aws/boto/cache"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("text")
    attempts = [probes.Attempt(profile="dev", sdk="cli", way=way) for way in ("named", "env", "default", "job")]
    environment = {"HOME": str(tmp_path), "JOB": "1", "AWS_PROFILE": "other", "AWS_DEFAULT_PROFILE": ""}
    answers = probes.run(attempts, {"cli": [sys.executable, "-c", script]}, environment)
    common = "1|.aws/config|.aws/sso|own"
    expected = [f"dev|-|-|{common}", f"|dev|-|{common}", f"|-|-|{common}", f"|other||{common}"]
    assert [answer.arn for answer in answers] == expected, "nothing is removed from the job as it stands"
    assert {answer.error for answer in answers} == {"text"}
    homes = {answer.kind for answer in answers}
    assert len(homes) == 4, "no probe finds a session that another one cached"
    assert str(tmp_path) not in homes


def test_a_probe_may_print_bytes_that_are_no_text(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.buffer.write(b'caf\\xe9')"
    attempts = [probes.Attempt(profile="dev", sdk="go", way="job")]
    (answer,) = probes.run(attempts, {"go": [sys.executable, "-c", script]}, {"HOME": str(tmp_path)})
    assert answer.error == "caf\ufffd"


def test_a_missing_probe_is_reported(tmp_path: Path) -> None:
    attempts = [probes.Attempt(profile="dev", sdk="go", way="env")]
    (answer,) = probes.run(attempts, {"go": [str(tmp_path / "absent")]}, {"HOME": str(tmp_path)})
    assert answer.kind == "NotInstalled"


def doctor(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", **environment}
    return subprocess.run(
        [sys.executable, "-I", str(DOCTOR), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_doctor_runs_with_the_standard_library_only(tmp_path: Path) -> None:
    done = doctor({"HOME": str(tmp_path), "CI_JOB_ID": "7"}, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert (document["ok"], document["job"], document["rows"]) == (False, "7", [])
    assert "no-config" in {finding["cause"] for finding in document["findings"]}
    modules = (
        f"import sys; sys.path.insert(0, {str(load.ROOT)!r}); import image.doctor.examination; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", modules], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.partition(".")[0] for name in loaded} <= set(sys.stdlib_module_names) | {"image", "__main__"}


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    assert doctor({"HOME": str(tmp_path)}, "--nonsense").returncode == 2
    assert doctor({"HOME": str(tmp_path)}, "--sdk", "cobol").returncode == 2


def test_a_profile_of_another_class_is_not_an_unknown_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(
        class_profiles(settings_of("prod").runner_class("small"), token_file=str(tmp_path / "token"))
    )
    (tmp_path / "classes" / "deploy").mkdir(parents=True)
    (tmp_path / "classes" / "deploy" / "config").write_text(class_profiles(settings_of("prod").runner_class("deploy")))
    monkeypatch.setattr(aws_config, "CLASSES", tmp_path / "classes")
    monkeypatch.setattr(probes, "run", lambda attempts, *_: [probes.Answer(error="Region is missing")] * len(attempts))
    environment = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    environment |= {"AWS_ENDPOINT_URL_STS": closed_address()}
    report = examination.examine({**environment, "AWS_PROFILE": "prod"}, ["prod", "nowhere"])
    texts = {finding.cause: finding.text for finding in report.findings}
    assert (
        "class small has no profile prod (it has default, base, cicd, dev); classes with it: deploy"
        in texts["class-without-account"]
    )
    assert "there is no profile nowhere" in texts["profile-missing"]
    assert not report.ok


def test_a_container_without_temporary_files_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    (tmp_path / "config").write_text(
        class_profiles(settings_of("prod").runner_class("small"), token_file=str(tmp_path / "token"))
    )
    monkeypatch.setattr(probes.tempfile, "TemporaryDirectory", read_only)
    environment = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    report = examination.examine(environment | {"AWS_ENDPOINT_URL_STS": closed_address()}, ["dev"], ["boto3"])
    assert (
        "no folder for temporary files"
        in {finding.cause: finding.text for finding in report.findings}["read-only-home"]
    )
    assert not report.ok
