"""Doctor's judgement of environments from public reports, held to what the real SDKs did in each of them."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import pytest

from config import load
from image.doctor import aws_config, aws_files, container, diagnosis, examination, probes, selectors, web_token
from image.doctor.selectors import EFFECTS, MEANT, SDKS, WORDS
from tests.support import aws_environments
from tests.support.aws_environments import CLI_2, Case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CASES = pytest.mark.parametrize("case", aws_environments.cases(), ids=lambda case: case.name)
SERVER = "http://127.0.0.1:1"
PAGE = load.ROOT / "docs" / "use" / "doctor.md"
ARNS = {
    "class": "arn:aws:sts::222222222222:assumed-role/runner-small/runner-small",
    "dev": "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small",
    "error": "",
}
ANY = "arn:aws:iam::444444444444:user/somebody"


def answers(case: Case) -> dict[str, str]:
    """Return the recorded answers; those of the CLI are of version 2, which the image has."""
    row = aws_environments.recorded()[case.name]
    return {sdk: row[CLI_2 if sdk == "cli" else sdk] for sdk in SDKS}


def selected(case: Case, folder: Path) -> tuple[aws_config.Config | None, list[selectors.Selector]]:
    environment = case.write(folder / "job", SERVER)
    try:
        config = aws_config.read(aws_config.in_force(environment))
    except aws_config.ConfigError:
        config = None
    return config, selectors.selectors(environment, config)


@CASES
def test_the_sdks_that_go_wrong_are_those_that_doctor_names(case: Case, tmp_path: Path) -> None:
    config, job_selectors = selected(case, tmp_path)
    named = {sdk for selector in job_selectors for sdk in selector.harmed} if config else set(SDKS)
    wrong = {sdk for sdk, answer in answers(case).items() if answer != case.asks or answer == "error"}
    assert named == wrong, [selector.text() for selector in job_selectors]
    assert tuple(selector.name for selector in job_selectors) == case.selectors


def test_the_verdict_is_that_of_the_sdks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = web_token.Token(
        subject="system:serviceaccount:jobs-small:job",
        audiences=("sts.amazonaws.com",),
        issued=0,
        expires=time.time() + 60,
        pod="",
        pod_uid="",
    )
    monkeypatch.setattr(probes, "installed", lambda _: {sdk: ["x"] for sdk in SDKS})
    monkeypatch.setattr(web_token, "read", lambda _: token)
    monkeypatch.setattr(container, "look", lambda *_: container.Container())
    for case in aws_environments.cases():
        recorded = answers(case)
        monkeypatch.setattr(probes, "run", functools.partial(answer_as_recorded, recorded))
        report = examination.examine(case.write(tmp_path / case.name, SERVER))
        expected = {sdk: answer == case.asks != "error" for sdk, answer in recorded.items()}
        assert {row.sdk: row.ok for row in report.as_it_stands} == expected, case.name
        assert all(row.cause for row in report.as_it_stands if not row.ok), case.name
        assert report.ok == all(expected.values()), case.name


def answer_as_recorded(
    recorded: Mapping[str, str],
    attempts: Sequence[probes.Attempt],
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
) -> list[probes.Answer]:
    """Answer for the job as it stands as recorded, and for every profile with its role."""
    del commands
    config = aws_config.read(aws_config.in_force(environment)) if attempts[0].way != probes.JOB else None
    roles = {name: _session(profile.role_arn) for name, profile in config.profiles.items()} if config else {}
    arns = [roles.get(attempt.profile, ARNS.get(recorded[attempt.sdk], ANY)) for attempt in attempts]
    return [probes.Answer(arn=arn, kind="" if arn else "Unknown") for arn in arns]


def _session(role_arn: str) -> str:
    account, role = role_arn.split(":")[4:5], role_arn.rpartition("/")[2]
    return f"arn:aws:sts::{''.join(account)}:assumed-role/{role}/session"


def test_every_effect_was_seen_in_an_environment() -> None:
    seen = {name for case in aws_environments.cases() for name in case.selectors}
    assert seen == set(EFFECTS)
    assert set(EFFECTS) >= MEANT
    assert all(set(letters) <= set(WORDS) and len(letters) == len(SDKS) for letters in EFFECTS.values())


def test_every_environment_has_a_public_source_and_an_answer_of_every_sdk() -> None:
    cases = aws_environments.cases()
    assert len(cases) >= 100
    assert all(source.startswith("https://") for case in cases for source in case.sources)
    assert all(case.sources for case in cases)
    recorded = aws_environments.recorded()
    assert set(recorded) == {case.name for case in cases}
    assert all(set(row) == {*SDKS, CLI_2} for row in recorded.values())
    assert [name for name, row in recorded.items() if row["cli"] != row["boto3"]] == [], (
        "version 1 of the CLI does as boto3"
    )


def test_the_page_has_the_table_of_effects() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for name, letters in EFFECTS.items():
        row = " | ".join(
            [f"`{name}`" if name.startswith(("AWS_", "BOTO_", "[")) else name, *(WORDS[x] for x in letters)]
        )
        assert f"| {row} |" in lines


def test_a_selector_is_fatal_only_for_an_sdk_that_was_not_tried(tmp_path: Path) -> None:
    case = next(case for case in aws_environments.cases() if case.name == "default-profile")
    _, (selector,) = selected(case, tmp_path)
    assert selector.text() == "AWS_DEFAULT_PROFILE (dev): taken by boto3, cli, go; ignored by javascript"
    findings = diagnosis.selector_findings([selector], ["boto3", "cli", "go"])
    assert [finding.fatal for finding in findings] == [True]
    findings = diagnosis.selector_findings([selector], SDKS)
    assert [finding.fatal for finding in findings] == [False]


def test_no_value_of_a_key_is_told(tmp_path: Path) -> None:
    names = {"keys-beside-profile", "credentials-base", "line-without-an-equals-sign", "web-identity"}
    for case in aws_environments.cases():
        if case.name in names:
            _, job_selectors = selected(case, tmp_path / case.name)
            text = " ".join(selector.text() for selector in job_selectors)
            assert text
            assert "KEYSOFSOMEBODY" not in text
            assert "this is not a setting" not in text


@pytest.mark.parametrize(
    "content", [b"", b"[", b"]\n=\n[]\n= x\n[profile ]\n", b"[a]\n  x = 1\n    y\n", b"\xff\xfe[\0a\0]\0"]
)
def test_any_file_is_read_without_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    aws_files.read(tmp_path / "file")
    aws_files.read(tmp_path / "file", credentials=True)


@pytest.mark.parametrize(("name", "sdks"), [("credentials-base", ["javascript", "go"]), ("section-in-quotes", ["go"])])
def test_a_place_is_the_cause_in_every_profile_that_it_concerns(name: str, sdks: list[str], tmp_path: Path) -> None:
    case = next(case for case in aws_environments.cases() if case.name == name)
    config, _ = selected(case, tmp_path)
    assert config is not None
    home = {"HOME": str(tmp_path / "job" / "home")}
    (place,) = selectors.places(home, config)["dev"]
    assert place.harmed == sdks
