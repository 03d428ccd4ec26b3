"""The command line on the stack files: exit codes, one JSON document on standard output, messages without traceback."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import botocore.configloader
import pytest
import typer
import yaml
from typer.main import get_group

from components.documents import checks
from config import foundation, load
from config.errors import Problem
from runner_platform.cli import main
from tests.support.class_settings import CLASSES, settings_of
from tests.support.program import STACKS, load_sdks, mock_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner_platform.check.mock_run import MockRun

pytestmark = pytest.mark.thorough

Run = "Callable[..., tuple[int, str, str]]"


@pytest.fixture(autouse=True)
def _shared_mock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared_run(stack: str) -> MockRun:
        load.of_foundation() if stack == foundation.STACK else load.of_stack(stack, *checks.CHECKS)
        return mock_run(stack)

    load_sdks()
    monkeypatch.setattr("runner_platform.check.mock_run.run_program", shared_run)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner-platform", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err, "an error that a person can correct is a sentence"
        return int(ended.value.code or 0), captured.out, captured.err

    return command  # type: ignore[return-value]  # a fixture without tear-down


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_values_of_every_class_are_pure_yaml(
    run: Callable[..., tuple[int, str, str]], stack: str, runner_class: str
) -> None:
    code, out, err = run("values", runner_class, "--stack", stack)
    assert (code, err) == (0, ""), "`helm template -f` reads standard output"
    values = yaml.safe_load(out)
    assert values["fullnameOverride"] == f"gitlab-runner-{runner_class}"
    assert "glrt-" not in out


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_profiles_of_every_class_are_an_aws_config(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, stack: str, runner_class: str
) -> None:
    code, out, err = run("profiles", runner_class, "--stack", stack)
    assert (code, err) == (0, "")
    (tmp_path / "config").write_text(out)
    profiles = botocore.configloader.load_config(str(tmp_path / "config"))["profiles"]
    assert set(profiles) == {"default", "base", *settings_of(stack).accounts_of(runner_class)}


@pytest.mark.parametrize("role", ["deployer", "reader", "foundation"])
def test_profiles_of_the_platform_need_no_stack(run: Callable[..., tuple[int, str, str]], role: str) -> None:
    code, out, err = run("profiles", "--platform", role)
    assert (code, err) == (0, "")
    assert out.count("[profile ") == len(load.of_foundation().accounts)
    code, out, _ = run("profiles", "--platform", role, "--source-profile", "me")
    assert out.count("source_profile = me") == len(load.of_foundation().accounts)


@pytest.mark.parametrize("stack", [*STACKS, foundation.STACK])
def test_resources_are_one_json_document(run: Callable[..., tuple[int, str, str]], stack: str) -> None:
    code, out, err = run("resources", "--stack", stack, "--json")
    assert (code, err) == (0, ""), "everything else goes to standard error"
    resources = json.loads(out)
    accounts = set(load.of_foundation().accounts)
    for resource in resources:
        assert set(resource) == {"type", "name", "parent", "provider", "account", "inputs"}
        assert (resource["account"] in accounts) == resource["type"].startswith("aws:"), (
            f"{resource['name']}: null outside AWS"
        )
        if resource["parent"] is not None:
            assert resource["parent"].startswith("urn:pulumi:"), "parent is a URN"
    documents = [
        resource["inputs"]["policy"] for resource in resources if resource["type"] == "aws:iam/rolePolicy:RolePolicy"
    ]
    assert documents, "documents are JSON strings"
    assert all(isinstance(json.loads(document), dict) for document in documents)


def test_resources_are_printed_one_to_a_line(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("resources", "--stack", "dev")
    assert code == 0
    assert len(out.splitlines()) == len(mock_run("dev").resources)


def test_check_prints_a_line_for_each_stack(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = run("check", "--reports", str(tmp_path))
    assert code == 0
    for stack in (*STACKS, foundation.STACK):
        assert f"{stack}: settings valid" in out
        assert json.loads((tmp_path / stack / "codequality.json").read_text()) == [], (
            "GitLab reads a report of each stack"
        )
        assert (tmp_path / stack / "junit.xml").read_text().startswith("<?xml")
    code, out, _ = run("check", "--stack", "dev", "--reports", str(tmp_path))
    assert (code, "prod:" in out) == (0, False), "only the named stack is checked"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["values", "nosuch", "--stack", "dev"],
            "'nosuch' is not a class of stack dev; its classes: big, deploy, medium",
        ),
        (["values", "small", "--stack", "foundation"], "the foundation has no runner classes"),
        (["profiles", "small"], "name a class and its --stack"),
        (["profiles"], "name a class and its --stack, or --platform deployer, reader or foundation"),
        (["profiles", "small", "--stack", "dev", "--platform", "deployer"], "name a class and its --stack"),
        (["profiles", "--platform", "deploier"], "did you mean 'deployer'?"),
        (["values", "small"], "--stack"),
        (["nonsense"], "nonsense"),
        (["check", "--stack", "prd"], "'prd' is not a stack; did you mean 'prod'?"),
        (["values", "small", "--stack", "prd"], "'prd' is not a stack; did you mean 'prod'?"),
        (["resources", "--stack", "prd"], "'prd' is not a stack; did you mean 'prod'?"),
    ],
)
def test_wrong_use_exits_with_2_and_names_the_right_use(
    run: Callable[..., tuple[int, str, str]], arguments: list[str], message: str
) -> None:
    code, out, err = run(*arguments)
    assert code == 2, "exit code 2 is wrong use"
    assert out == "", "standard output is for results"
    assert message in " ".join(err.replace("│", " ").split())


def test_invalid_settings_exit_with_1(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem(path="runners.small.limits", message="cannot hold 4 jobs at once")
    monkeypatch.setattr(checks, "CHECKS", (lambda: [problem],))
    for arguments in (["check", "--stack", "dev"], ["values", "small", "--stack", "dev"]):
        code, out, err = run(*arguments)
        assert (code, out) == (1, ""), "exit code 1: the settings have a problem"
        assert "Pulumi.dev.yaml has 1 problem; nothing was touched:\n  - runners.small.limits: cannot hold" in err


def test_an_account_with_two_ids_is_refused(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = load.of_foundation()
    accounts = {**committed.accounts, "dev": committed.accounts["cicd"]}
    changed = foundation.FoundationSettings(
        organization=committed.organization,
        accounts=accounts,
        gitlab=committed.gitlab,
        platform=committed.platform,
        tags=committed.tags,
    )
    monkeypatch.setattr(load, "of_foundation", lambda: changed)
    code, _, err = run("check", "--stack", "dev")
    assert code == 1
    assert "dev: accounts.dev.id: 333333333333 differs from foundation/Pulumi.foundation.yaml (222222222222)" in err


def test_every_listed_command_can_be_loaded_and_has_help() -> None:
    group = get_group(main.app)
    for name, target in main.COMMANDS.items():
        command = group.resolve_command(typer.Context(group), [name])[1]
        assert command is not None
        assert command.help, f"{target.location} has a docstring"


def test_the_version_is_that_of_the_distribution(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("--version")
    assert (code, out) == (0, f"runner-platform {version('runner-platform')}\n")


def test_an_unknown_command_is_refused_with_the_nearest_name(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run("chek")
    assert code == 2
    assert "Did you mean 'check'?" in err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_access_table_cuts_no_name_in_a_narrow_terminal(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = run("access", "--stack", "dev")
    assert code == 0
    assert max(map(len, out.splitlines()[:-1])) <= columns
    assert "…" not in out
    for name in ("job:dev/small", "delegated-role-open-dev", "runner-manager-medium-dev", "platform-deployer"):
        assert name in out, "every name stands on one line"
    assert {"open", "protected", "refused"} <= set(out.split()), "the trust level is a word"
    assert err.startswith("… "), "progress goes to standard error"


def test_progress_is_printed_to_standard_error_only(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("access", "--stack", "dev", "--json")
    assert code == 0
    json.loads(out)
    assert err.startswith("… running the programs")
