"""An access matrix as table, JSON, Markdown and picture; gains and losses; the command's exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from access.decision import Decision
from access.matrix import Cell, derived
from access.profiles import profile_problems
from access.resource import UNKNOWN
from config import load
from runner_platform.cli import main
from runner_platform.review import access_matrix, access_report
from tests.support.access_programs import changed, facts, role_named, trust_of, whole
from tests.support.program import STACKS, mock_run

if TYPE_CHECKING:
    from pathlib import Path

    from access.graph import AccessGraph

pytestmark = pytest.mark.thorough

ROLE = "arn:aws:iam::222222222222:role/cicd/delegated-role"


def side(of: AccessGraph) -> access_matrix.Side:
    stacks = {stack: load.of_stack(stack) for stack in STACKS}
    return access_matrix.Side(
        facts=facts(), stacks=stacks, foundation=load.of_foundation(), world=of, cells=derived(of)
    )


@pytest.fixture(scope="module")
def matrix() -> access_matrix.Matrix:
    return access_matrix.of_stack("dev", side(whole()))


@pytest.fixture(scope="module")
def wrong() -> access_matrix.Matrix:
    is_role = role_named("delegated-role-dev")

    def inputs(resource: Any) -> dict[str, Any] | None:
        if not is_role(resource):
            return None
        trust = trust_of(resource)
        del trust["Statement"][0]["Condition"]
        return {"assumeRolePolicy": json.dumps(trust)}

    return access_matrix.of_stack("dev", side(changed(inputs)))


def test_a_profile_that_leads_elsewhere_is_reported(matrix: access_matrix.Matrix) -> None:
    resources = [
        replace(
            resource,
            inputs={
                **resource.inputs,
                "data": {"config": resource.inputs["data"]["config"].replace("333333333333", "444444444444")},
            },
        )
        if resource.name == "small-runner-aws-config"
        else resource
        for resource in mock_run("dev").resources
    ]
    sentences = profile_problems(resources, load.of_stack("dev"))
    role, expected = (
        f"arn:aws:iam::{account}:role/cicd-dev/delegated-role-open-dev" for account in ("444444444444", "333333333333")
    )
    assert sentences == [f"class small: AWS config [profile dev] role_arn is {role}, not {expected}"]
    assert profile_problems(mock_run("dev").resources, load.of_stack("dev")) == []
    led_astray = replace(matrix, profiles=sentences)
    assert not led_astray.fine
    assert "1 AWS profiles lead elsewhere" in access_report.verdict(led_astray)
    assert access_report.problems(led_astray) == sentences


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("no-longer", "", "is missing"),
        ("aws-config", UNKNOWN, "is not known yet"),
        ("aws-config", "x", "is not an AWS config file"),
    ],
)
def test_an_aws_config_that_cannot_be_read_is_reported(name: str, text: Any, problem: str) -> None:
    config = next(resource for resource in mock_run("dev").resources if resource.name == "small-runner-aws-config")
    metadata = {**config.inputs["metadata"], "name": name}
    config = replace(config, inputs={"metadata": metadata, "data": {"config": text}})
    sentences = profile_problems([config], load.of_stack("dev"))
    assert any(sentence.startswith(f"class small: the AWS config of its jobs {problem}") for sentence in sentences)


USERS = {"small": "every project of group 1234", "deploy": "project 5678, protected branches and tags"}


def test_a_matrix_has_the_stacks_own_roles_and_the_foundations(matrix: access_matrix.Matrix) -> None:
    names = {cell.role.split("/")[1] for cell in matrix.cells}
    assert names == {"cicd-dev", "cicd-platform"}
    assert any(cell.principal.startswith("job:prod/") for cell in matrix.cells), (
        "jobs of the other stack are principals too"
    )
    assert matrix.fine


def test_cells_for_machines_have_the_keys_of_the_contract(matrix: access_matrix.Matrix) -> None:
    document = access_report.document(matrix.cells)
    assert all(set(cell) == {"principal", "account", "role", "answer", "chain"} for cell in document)
    (cell,) = [
        candidate
        for candidate in document
        if candidate["principal"] == "job:dev/deploy" and candidate["role"].endswith("/delegated-role-dev")
    ]
    assert (cell["account"], cell["answer"], len(cell["chain"])) == ("cicd", "ALLOWED", 2)
    unsure = access_report.document([Cell("a", "b", "c", Decision.UNDECIDED, (), "why")])
    assert unsure[0]["reason"] == "why"


def test_the_table_lists_every_class_with_its_users_and_few_other_rows(matrix: access_matrix.Matrix) -> None:
    lines = access_report.lines(matrix, {name: USERS.get(name, "") for name in load.of_stack("dev").runners})
    assert access_report.header(matrix) == ["principal", "used by", "admin", "cicd", "dev", "prod"]
    by_name = {line[0]: line for line in lines}
    assert by_name["job:dev/small"][1] == USERS["small"]
    assert "delegated-role-open-dev" in by_name["job:dev/small"][4]
    assert by_name["job:dev/review"][2:] == ["-", "runner-review-dev", "-", "-"]
    assert lines[-1][0].startswith("refused: ")
    assert len(lines) < 20
    assert access_report.refused(matrix)["jobs of prod"] == len(load.of_stack("prod").runners)
    assert len({row.principals for row in access_report.rows(matrix, {})}) == len(access_report.rows(matrix, {}))


def test_a_cell_that_is_not_as_declared_is_reported_with_its_chain(wrong: access_matrix.Matrix) -> None:
    assert not wrong.fine
    text = "\n".join(access_report.problems(wrong))
    assert "root:cicd can become arn:aws:iam::222222222222:role/cicd-dev/delegated-role-dev by " in text
    assert "cells are not as declared" in access_report.verdict(wrong)
    assert any(line[0].startswith("! ") for line in access_report.lines(wrong, {}))


def test_gains_and_losses_name_the_chain_that_opens_or_closes(
    matrix: access_matrix.Matrix, wrong: access_matrix.Matrix
) -> None:
    opened = access_matrix.changes(matrix.cells, wrong.cells)
    assert "root:cicd" in {change.principal for change in opened}
    assert all(change.gains and change.chain for change in opened)
    closed = access_matrix.changes(wrong.cells, matrix.cells)
    assert [change.chain for change in closed] == [change.chain for change in opened]
    assert not any(change.gains for change in closed)
    assert access_matrix.changes(matrix.cells, matrix.cells) == []
    new = Cell("job:new/x", "dev", ROLE, Decision.ALLOWED, (ROLE,))
    assert access_matrix.changes([], [new])[0].before is Decision.DENIED, "a new principal reached nothing before"
    unsure = replace(new, decision=Decision.UNDECIDED)
    assert access_matrix.changes([new], [unsure])[0].gains is False


def test_the_merge_request_report_begins_with_changes_and_problems(
    matrix: access_matrix.Matrix, wrong: access_matrix.Matrix
) -> None:
    changes = access_matrix.changes(matrix.cells, wrong.cells)
    text = access_report.markdown(wrong, USERS, changes, "main")
    assert text.index("gained") < text.index("Not as declared") < text.index("| principal |") < text.index("```mermaid")
    assert f"**{len(changes)} gained, 0 lost against `main`**" in text
    quiet = access_report.markdown(matrix, USERS)
    assert "gained" not in quiet
    assert "Not as declared" not in quiet


def test_reports_are_written_for_machines_and_people(matrix: access_matrix.Matrix, tmp_path: Path) -> None:
    folder = access_report.write(matrix, tmp_path, users=USERS)
    assert folder == tmp_path / "dev"
    assert len(json.loads((folder / "access.json").read_text())) == len(matrix.cells)
    assert (folder / "access.md").read_text().startswith("### Access: dev")


def test_the_picture_groups_classes_by_level_and_marks_unexpected_chains(
    matrix: access_matrix.Matrix, wrong: access_matrix.Matrix
) -> None:
    lines = access_report.picture(matrix).splitlines()
    assert lines[0] == "flowchart LR"
    assert any('"big, medium, small"' in line for line in lines), "classes with the same access are one box"
    assert not any("-.->" in line for line in lines)
    assert len(lines) < 20
    assert any("-.->" in line for line in access_report.picture(wrong).splitlines())
    assert "stroke:#c00" in access_report.picture(wrong)


def test_a_label_of_the_picture_cannot_be_ended_by_a_name(wrong: access_matrix.Matrix) -> None:

    assert access_report._plain('x"]; click n1 "javascript:alert(1)<b>') == "x___ click n1 _javascript:alert(1)_b_"
    assert '"' not in access_report._plain(access_report.problems(wrong)[0])


def test_without_a_token_the_users_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITLAB_TOKEN", raising=False)
    messages: list[str] = []
    users = access_report.users_of(load.of_stack("dev"), messages.append)
    assert users["small"] == "every project of group 1234"
    assert users["deploy"] == "project 5678, protected branches and tags"
    assert not messages


def test_without_an_answer_of_gitlab_users_are_numbers_and_a_note_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-x")
    monkeypatch.setenv("GITLAB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    messages: list[str] = []
    assert access_report.users_of(load.of_stack("dev"), messages.append)["small"] == "every project of group 1234"
    assert "target: GitLab" in messages[0]
    assert any("by its number" in message for message in messages)


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the mock runs that all tests share."""
    monkeypatch.delenv("GITLAB_TOKEN", raising=False)
    monkeypatch.setattr("runner_platform.check.mock_run.run_program", mock_run)


@pytest.mark.usefixtures("shared")
def test_the_command_prints_one_document_and_exits_with_0() -> None:
    done = CliRunner().invoke(main.app, ["access", "--stack", "dev", "--json"])
    assert done.exit_code == 0, done.stderr
    cells = json.loads(done.stdout)
    assert {cell["answer"] for cell in cells} == {"ALLOWED", "DENIED"}


@pytest.mark.usefixtures("shared")
def test_the_command_shows_a_table_and_the_gained_access(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    working_tree = access_matrix.here()
    fewer = replace(working_tree, cells=[cell for cell in working_tree.cells if cell.principal != "job:dev/small"])
    monkeypatch.setattr(access_matrix, "at", lambda ref: fewer if ref == "main" else None)
    done = CliRunner().invoke(main.app, ["access", "-s", "dev", "--diff", "main", "--reports", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert "job:dev/small gains" in done.stdout
    assert "as the settings declare it" in done.stdout
    assert "gained" in (tmp_path / "dev" / "access.md").read_text()
    as_json = CliRunner().invoke(main.app, ["access", "-s", "dev", "--diff", "main", "--json"])
    assert {change["principal"] for change in json.loads(as_json.stdout)["gained"]} == {"job:dev/small"}


@pytest.mark.usefixtures("shared")
def test_the_command_exits_with_1_if_the_documents_differ_from_the_settings(
    monkeypatch: pytest.MonkeyPatch, wrong: access_matrix.Matrix
) -> None:
    monkeypatch.setattr(access_matrix, "of_stack", lambda _: wrong)
    done = CliRunner().invoke(main.app, ["access", "--stack", "dev", "--json"])
    assert done.exit_code == 1
    assert "root:cicd" in done.stderr
    json.loads(done.stdout)
