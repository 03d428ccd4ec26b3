"""How a proof looks and ends: the matrix, a line for each wrong result, one JSON document, exit codes."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from config import load
from runner_platform.cli import main
from runner_platform.driver import promotion
from runner_platform.live_runners import LiveRunner
from runner_platform.prove import attempts, output, proof, strangers
from runner_platform.prove.results import Result
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.up import proof as at_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform.prove.proof import Proof, Watcher

SETTINGS = load.of_stack("prod")
ACCOUNTS = load.of_foundation().accounts
PROJECT = "company/platform/deployments"


def right_proof() -> Proof:
    planned = [
        *attempts.of_classes(SETTINGS, ACCOUNTS, attempts.Scope.of(everything=False)),
        *strangers.of_stack(SETTINGS, ACCOUNTS, [load.of_stack("dev")]),
    ]
    runners = {
        name: LiveRunner(runner_class=name, id=1, projects=(PROJECT,) if runner.project else (), differences=())
        for name, runner in SETTINGS.runners.items()
    }
    return proof.Proof(
        settings=SETTINGS,
        accounts=list(ACCOUNTS),
        results=[Result(attempt=attempt, got=attempt.expected) for attempt in planned],
        runners=runners,
        seconds=7.4,
    )


def with_result(right: Proof, got: str, *, caller: str, profile: str) -> Proof:
    """The proof with another result of one attempt."""
    results = [
        replace(result, got=got) if (result.attempt.caller, result.attempt.profile) == (caller, profile) else result
        for result in right.results
    ]
    assert results != right.results
    return replace(right, results=results)


def with_accepted_manager() -> Proof:
    role = "arn:aws:iam::222222222222:role/cicd/runner-small"
    return with_result(right_proof(), role, caller="runner-small/manager", profile="default")


def rendered(result: Proof, width: int = 200) -> str:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(output.render(result, width), crop=False)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_matrix_has_a_line_per_class_with_its_jobs_and_its_level_in_each_account() -> None:
    lines = [line.split() for line in rendered(right_proof()).splitlines()]
    small = next(line for line in lines if line[:1] == ["small"])
    assert small[1:] == ["any", "ref", "of", "group", "1234", "own", "role", "refused", "open", "open", "refused"]
    deploy = next(line for line in lines if line[:1] == ["deploy"])
    assert deploy[1:] == f"protected refs of project {PROJECT} own role protected protected refused protected".split()


@pytest.mark.parametrize("width", [50, 80, 120])
def test_tables_fit_the_terminal_and_cut_no_name(width: int) -> None:
    role = "arn:aws:iam::444444444444:role/cicd/delegated-role"
    wrong = with_result(right_proof(), role, caller="jobs-review/job", profile="prod")
    text = rendered(wrong, width)
    tables = [line for line in text.splitlines() if not line.startswith("WRONG:")]
    assert max(map(len, tables)) <= width
    assert "…" not in text
    words = {word for line in tables for word in line.split()}
    assert {*SETTINGS.runners, *ACCOUNTS, "open", "protected", "refused", "WRONG", "default,", "base"} <= words
    column = "".join(line[8:].split("  ")[0].strip() for line in tables)
    assert PROJECT in column, "a long name continues on the next line"


def test_accounts_that_do_not_fit_get_a_second_table() -> None:
    lines = rendered(right_proof(), 60).splitlines()
    headings = [line.split() for line in lines if line.startswith("class ")]
    assert [heading[-2:] for heading in headings] == [["admin", "cicd"], ["dev", "prod"]]


def test_strangers_are_counted_by_group() -> None:
    lines = [" ".join(line.split()) for line in rendered(right_proof()).splitlines()]
    assert "service accounts beside the job's 15 of 15" in lines
    assert "wrong tokens 6 of 6" in lines


def test_a_wrong_result_has_one_line_with_caller_profile_and_role() -> None:
    red = with_accepted_manager()
    assert not red.ok
    (line,) = [line for line in rendered(red).splitlines() if line.startswith("WRONG")]
    assert line.rstrip() == (
        "WRONG: runner-small/manager, profile default, boto3 default: expected REFUSED, "
        "got arn:aws:iam::222222222222:role/cicd/runner-small"
    )
    assert "14 of 15" in rendered(red)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ("REFUSED", "WRONG refused"),
        ("BROKEN: no network", "WRONG broken"),
        ("arn:aws:iam::333333333333:role/cicd/delegated-role", "WRONG protected"),
        ("arn:aws:iam::222222222222:role/cicd/runner-small", "WRONG own role"),
        ("arn:aws:iam::444444444444:role/cicd/delegated-role-open", "WRONG another role"),
    ],
)
def test_a_wrong_result_of_a_class_stands_in_the_matrix(got: str, words: str) -> None:
    red = with_result(right_proof(), got, caller="jobs-small/job", profile="dev")
    (small,) = [line for line in rendered(red).splitlines() if line.startswith("small ")]
    assert words in small


def test_a_difference_in_gitlab_makes_the_proof_wrong() -> None:
    right = right_proof()
    opened = replace(right.runners["deploy"], differences=("access_level is 'not_protected'",))
    red = replace(right, runners={**right.runners, "deploy": opened})
    assert not red.ok
    assert "WRONG: the runner of class deploy in GitLab: access_level is 'not_protected'" in rendered(red)
    unknown = replace(right, runners={}, gitlab_problem="GITLAB_TOKEN is not set")
    assert not unknown.ok, "a proof without the comparison proves too little"
    assert "not compared: GITLAB_TOKEN is not set" in rendered(unknown)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(result: Proof, *arguments: str) -> tuple[int, str, str]:
        def prove(stack: str, watcher: Watcher, *, everything: bool) -> Proof:
            watcher.say(f"target: {stack}{' in full' if everything else ''}")
            watcher.expect(len(result.results))
            watcher.advance()
            return result

        monkeypatch.setattr(proof, "prove", prove)
        monkeypatch.setattr(promotion, "record_proof", lambda _project, *, passed: recorded.append(passed))
        monkeypatch.setattr(sys, "argv", ["runner-platform", "prove", "--stack", "prod", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capfd.readouterr()
        code = int(ended.value.code or 0)
        assert recorded.pop() is (code == 0), "a promotion reads the verdict of the last proof"
        return code, printed.out, printed.err

    recorded: list[bool] = []
    return run


def test_with_json_standard_output_is_one_document(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command(right_proof(), "--json", "--all")
    results: list[dict[str, Any]] = json.loads(out)
    assert (code, err) == (0, "target: prod in full\n"), "no progress without a terminal, and nothing is wrong"
    assert {result["class"] for result in results} == {None, *SETTINGS.runners}


def test_a_red_proof_ends_with_one_and_explains_it_beside_the_json(
    command: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = command(with_accepted_manager(), "--json")
    assert code == 1
    assert [result["service_account"] for result in json.loads(out) if not result["ok"]] == ["runner-small/manager"]
    assert "WRONG: runner-small/manager" in err


@pytest.mark.parametrize(("stack", "words"), [("nope", "is not a stack"), ("foundation", "has no runner classes")])
def test_a_stack_without_classes_is_wrong_use(
    stack: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["runner-platform", "prove", "--stack", stack])
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capfd.readouterr()
    assert ended.value.code == 2
    assert words in printed.err
    assert "Traceback" not in printed.err


def end_of_make_up(monkeypatch: pytest.MonkeyPatch, script: str) -> list[at_the_end.Proof]:
    monkeypatch.setattr(at_the_end, "COMMAND", (sys.executable, "-c", script))
    return at_the_end.prove(["dev", "prod"], {"A": "b"}, Console(file=io.StringIO(), width=123))


def test_a_wrong_result_stays_on_one_line_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output.show(with_accepted_manager())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert line.endswith("got arn:aws:iam::222222222222:role/cicd/runner-small")


def test_make_up_proves_stacks_in_the_width_of_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys; print(sys.argv[1], os.environ['COLUMNS'], os.environ['NO_COLOR']); sys.exit(sys.argv[1] == 'prod')"
    proofs = end_of_make_up(monkeypatch, script)
    assert [(stack.stack, stack.text, stack.fine) for stack in proofs] == [
        ("dev", "dev 123 1", True),
        ("prod", "prod 123 1", False),
    ]
    with pytest.raises(SandboxError, match="settings of prod say") as red:
        at_the_end.require_fine(proofs)
    assert red.value.exit_code == 1
    at_the_end.require_fine(proofs[:1])


def test_a_failed_proof_ends_make_up_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="AWS cannot be asked"):
        end_of_make_up(monkeypatch, "import sys; sys.exit('AWS cannot be asked')")
