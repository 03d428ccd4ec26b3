"""How a proof looks and ends: the matrix, wrong cells in words, one JSON document, exit codes."""

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
from runner_platform.prove import plan, proof, show, strangers
from runner_platform.prove.model import Cell
from runner_platform_sandbox import proof as at_the_end
from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform.prove.proof import Proof, Watcher

SETTINGS = load.of_stack("prod")
ACCOUNTS = load.of_foundation().accounts


def fine() -> Proof:
    attempts = [
        *plan.attempts(SETTINGS, ACCOUNTS, plan.Scope.of(everything=False)),
        *strangers.attempts(SETTINGS, ACCOUNTS, [load.of_stack("dev")]),
    ]
    runners = {
        name: LiveRunner(
            runner_class=name, id=1, projects=("group/deployments",) if its.project else (), differences=()
        )
        for name, its in SETTINGS.runners.items()
    }
    return proof.Proof(
        settings=SETTINGS,
        accounts=list(ACCOUNTS),
        cells=[Cell(attempt=each, got=each.expected) for each in attempts],
        runners=runners,
        seconds=7.4,
    )


def with_one_wrong() -> Proof:
    right = fine()
    index = next(i for i, cell in enumerate(right.cells) if cell.attempt.service_account == "runner-small/manager")
    cells = list(right.cells)
    cells[index] = replace(cells[index], got="arn:aws:iam::222222222222:role/cicd/runner-small")
    return replace(right, cells=cells)


def shown(found: Proof) -> str:
    screen = Console(file=io.StringIO(), width=200)
    screen.print(show.render(found))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_matrix_has_a_line_per_class_that_begins_with_whom_gitlab_sends() -> None:
    lines = [line.split() for line in shown(fine()).splitlines()]
    small = next(line for line in lines if "small" in line)
    assert small[:5] == ["any", "ref", "of", "group", "1234"]
    assert small[5:] == ["small", "runner-small", "runner-small", "refused", *["delegated-role-open"] * 2, "refused"]
    deploy = next(line for line in lines if "deploy" in line)
    assert deploy[:5] == ["protected", "refs", "of", "project", "group/deployments"]


def test_strangers_are_counted_by_what_they_have_in_common() -> None:
    text = shown(fine())
    assert "service accounts beside the job's                           15      15 of 15" in text
    assert "wrong tokens                                                6       6 of 6" in text


def test_a_wrong_cell_is_named_in_one_line_with_all_that_finds_it() -> None:
    found = with_one_wrong()
    assert not found.fine
    (line,) = [each for each in shown(found).splitlines() if each.startswith("WRONG")]
    assert line.rstrip() == (
        "WRONG: runner-small/manager, profile default, boto3 default: expected REFUSED, "
        "got arn:aws:iam::222222222222:role/cicd/runner-small"
    )
    assert "14 of 15" in shown(found)


def test_a_class_s_wrong_cell_stands_out_in_the_matrix() -> None:
    found = fine()
    cells = [
        replace(cell, got="REFUSED") if (cell.attempt.runner_class, cell.attempt.profile) == ("small", "dev") else cell
        for cell in found.cells
    ]
    assert "WRONG refused" in shown(replace(found, cells=cells))


def test_gitlab_s_part_counts_as_much_as_aws_s() -> None:
    found = fine()
    opened = replace(found.runners["deploy"], differences=("access_level is 'not_protected'",))
    red = replace(found, runners={**found.runners, "deploy": opened})
    assert not red.fine
    assert "WRONG: the runner of class deploy in GitLab: access_level is 'not_protected'" in shown(red)
    unknown = replace(found, runners={}, gitlab="GITLAB_TOKEN is not set")
    assert not unknown.fine, "what was not compared is not proven"
    assert "not compared: GITLAB_TOKEN is not set" in shown(unknown)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(found: Proof, *arguments: str) -> tuple[int, str, str]:
        def prove(stack: str, watcher: Watcher, *, everything: bool) -> Proof:
            watcher.say(f"target: {stack}{' in full' if everything else ''}")
            watcher.expect(len(found.cells))
            watcher.advance()
            return found

        monkeypatch.setattr(proof, "prove", prove)
        monkeypatch.setattr(promotion, "proven", lambda _project, *, fine: recorded.append(fine))
        monkeypatch.setattr(sys, "argv", ["runner-platform", "prove", "--stack", "prod", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capfd.readouterr()
        code = int(ended.value.code or 0)
        assert recorded.pop() is (code == 0), "a promotion reads the verdict of the last proof"
        return code, said.out, said.err

    recorded: list[bool] = []
    return run


def test_with_json_standard_output_is_one_document(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command(fine(), "--json", "--all")
    found: list[dict[str, Any]] = json.loads(out)
    assert (code, err) == (0, "target: prod in full\n"), "quiet where all is well and nobody watches"
    assert {cell["class"] for cell in found} == {None, *SETTINGS.runners}


def test_a_red_proof_ends_with_one_and_says_why_beside_the_json(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command(with_one_wrong(), "--json")
    assert code == 1
    assert [cell["service_account"] for cell in json.loads(out) if not cell["ok"]] == ["runner-small/manager"]
    assert "WRONG: runner-small/manager" in err


@pytest.mark.parametrize(("stack", "words"), [("nope", "is not a stack"), ("foundation", "has no runner classes")])
def test_a_stack_that_has_no_classes_is_wrong_use(
    stack: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["runner-platform", "prove", "--stack", stack])
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capfd.readouterr()
    assert ended.value.code == 2
    assert words in said.err
    assert "Traceback" not in said.err


def end_of_make_up(monkeypatch: pytest.MonkeyPatch, script: str) -> list[at_the_end.Proved]:
    monkeypatch.setattr(at_the_end, "COMMAND", (sys.executable, "-c", script))
    return at_the_end.prove(["dev", "prod"], {"A": "b"}, Console(file=io.StringIO(), width=123))


def test_what_is_wrong_stands_on_one_line_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show.show(with_one_wrong())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert line.endswith("got arn:aws:iam::222222222222:role/cicd/runner-small")


def test_make_up_proves_stacks_side_by_side_in_the_width_of_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os, sys; print(sys.argv[1], os.environ['COLUMNS'], os.environ['NO_COLOR']); sys.exit(sys.argv[1] == 'prod')"
    found = end_of_make_up(monkeypatch, script)
    assert [(each.stack, each.text, each.fine) for each in found] == [
        ("dev", "dev 123 1", True),
        ("prod", "prod 123 1", False),
    ]
    with pytest.raises(SandboxError, match="settings of prod say") as red:
        at_the_end.require_fine(found)
    assert red.value.exit_code == 1
    at_the_end.require_fine(found[:1])


def test_a_proof_that_could_not_be_made_ends_make_up_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="AWS cannot be asked"):
        end_of_make_up(monkeypatch, "import sys; sys.exit('AWS cannot be asked')")
