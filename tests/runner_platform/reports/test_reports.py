"""The files that GitLab shows of a run: counts, changes, summary, and Markdown that stays text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from access.decision import Decision
from runner_platform.errors import FailedError
from runner_platform.reports import change, changes, files, markdown, summary, terraform
from runner_platform.reports.change import Change, Counts, Kind, Property
from runner_platform.review.access_matrix import AccessChange
from runner_platform.review.comparison import UNSEEN, Comparison, StackDiff
from runner_platform.review.comparison_report import cost_lines, document, lines, write
from runner_platform.review.costs import Cost

if TYPE_CHECKING:
    from pathlib import Path

BUCKET, ROLE = "aws:s3/bucket:Bucket", "aws:iam/role:Role"


def change_of(kind: Kind, name: str = "it", token: str = ROLE, **more: object) -> Change:
    return Change(kind=kind, urn=f"urn:{token}::{name}", type=token, name=name, account="cicd", **more)  # type: ignore[arg-type]


LOST = change_of(
    Kind.REPLACE,
    "store",
    BUCKET,
    properties=(Property(path="bucket", old="a", new="b", forces_replacement=True), Property(path="tags.x", new="1")),
)


def test_a_replace_counts_as_one_create_and_one_delete() -> None:
    counts = json.loads(terraform.document(Counts(create=1, update=2, delete=3, replace=4)))
    assert counts == {"create": 5, "update": 2, "delete": 7}, "GitLab knows no replace and fails without these three"


def test_counts_for_people_begin_with_deletions() -> None:
    assert str(Counts(create=1, update=2, delete=3, replace=4)) == "3 to delete, 4 to replace, 2 to update, 1 to create"
    assert str(Counts()) == "no changes"


def test_the_summary_shows_a_loss_outside_of_folded_parts() -> None:
    text = summary.document(summary.Summary(stack="prod", changes=[change_of(Kind.CREATE), LOST], of="against main"))
    assert text.startswith("### `prod`: 1 to replace, 1 to create\n")
    assert ":warning: `-/+` `aws:s3/bucket:Bucket` `store` in `cicd`: its objects are lost" in text
    assert "replaced because of `bucket`" in text
    assert "<details>" not in text


def test_many_deletions_are_a_warning() -> None:
    gone = [change_of(Kind.DELETE, f"r{n}") for n in range(40)]
    text = summary.document(summary.Summary(stack="prod", changes=gone, of="against main"))
    assert "40 resources are deleted or replaced: is this the right stack and branch?" in text
    assert "and 10 more in `changes.md`" in text


def test_a_summary_has_its_sections_and_says_what_it_cannot_show() -> None:
    access = summary.Section(title="Access", lines=["- deploy gains prod"])
    text = summary.document(
        summary.Summary(
            stack="dev",
            changes=[],
            of="x",
            verdict="failed",
            sections=[access, summary.Section(title="Empty", lines=[])],
            footer=[UNSEEN],
        )
    )
    assert "### `dev`: failed" in text
    assert "**Access**\n\n- deploy gains prod" in text
    assert "Empty" not in text
    assert UNSEEN in text


def test_the_list_of_changes_begins_with_deletes_and_shows_both_sides() -> None:
    text = changes.document("dev", [change_of(Kind.CREATE, "new"), LOST, change_of(Kind.DELETE, "old")], [UNSEEN])
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Deleted (1)",
        "## Replaced (1)",
        "## Created (1)",
    ]
    assert "`bucket`: `a` → `b`" in text
    assert "`tags.x`: + `1`" in text
    assert UNSEEN in text


def test_a_list_that_is_cut_says_how_much_is_missing() -> None:
    long = "x" * markdown.LONGEST_VALUE
    wide = tuple(Property(path=f"p{n}", old=long, new=long) for n in range(100))
    text = changes.document("dev", [change_of(Kind.UPDATE, f"r{n}", properties=wide) for n in range(50)])
    missing = re.search(r"\*\*(\d+) more changes do not fit here", text)
    assert missing
    assert int(missing[1]) + text.count("- `~` ") == 50
    assert "… 40 more properties" in text
    assert len(text) < changes.MOST_CHARACTERS + 50_000


@pytest.mark.parametrize(
    "injected",
    ["/approve", "  /merge", "> /close", "- /label ~x", "1. /assign @me", "<!-- runner-platform: x -->", "`/approve`"],
)
def test_text_of_an_unreviewed_branch_is_no_quick_action_and_no_marker(injected: str) -> None:
    text = markdown.harmless(f"fine\n{injected}\r{injected}\nfine")
    assert not re.search(r"^[\s>*+\-\d.)]*/\w", text, re.MULTILINE)
    assert "<!--" not in text


def test_a_name_in_a_value_notifies_no_person() -> None:
    assert "@all" not in markdown.harmless("thanks @all and @group/team")
    assert "who@example.com" in markdown.harmless("who@example.com"), "an e-mail address notifies no person"


@pytest.mark.parametrize("text", ["a`b", "``", "`", "", "a\n/approve", "a|b", "</details>", "x" * 999])
def test_a_code_span_holds_any_text_on_one_line(text: str) -> None:
    span = markdown.cell(text)
    assert "\n" not in span
    fence = re.match(r"`+", span)
    assert fence
    assert fence[0] not in span[len(fence[0]) : -len(fence[0])].strip("\\|"), "no character of the text ends the span"
    assert not re.search(r"(?<!\\)\|", span)


def test_reports_are_written_whole_into_a_folder_of_the_stack(tmp_path: Path) -> None:
    place = files.write(tmp_path, "dev", {"a.md": "one"})
    files.write(tmp_path, "dev", {"a.md": "two"})
    assert place == tmp_path / "dev"
    assert {path.name: path.read_text() for path in place.iterdir()} == {"a.md": "two"}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text("a file")
    with pytest.raises(FailedError, match="reports cannot be written"):
        files.write(tmp_path, "dev", {"a.md": "one"})


COMPARISON = Comparison(
    ref="main",
    commit="0a1b2c3d" + "0" * 32,
    notes=["This branch lacks 2 commits of main."],
    stacks=[
        StackDiff(
            stack="dev",
            changes=[LOST],
            costs=[Cost(name="NAT gateways", old=1, new=2, unit="", amount=37.96)],
            access=[
                AccessChange(
                    principal="job:dev/small",
                    account="333333333333",
                    role="arn:role",
                    before=Decision.DENIED,
                    after=Decision.ALLOWED,
                    chain=("arn:job", "arn:role"),
                )
            ],
        ),
        StackDiff(stack="prod", changes=[], costs=[], access=[]),
    ],
)


def test_a_comparison_is_written_per_stack_with_what_it_cannot_show(tmp_path: Path) -> None:
    places = write(COMPARISON, tmp_path)
    assert [place.name for place in places] == ["dev", "prod"]
    for place in places:
        assert {path.name for path in place.iterdir()} == {"terraform.json", "changes.md", "summary.md"}
        assert UNSEEN in (place / "summary.md").read_text()
        assert UNSEEN in (place / "changes.md").read_text()
    assert json.loads((tmp_path / "dev/terraform.json").read_text()) == {"create": 1, "update": 0, "delete": 1}
    page = (tmp_path / "dev/summary.md").read_text()
    assert "against main (0a1b2c3d)" in page
    assert "**Access: 1 gained, 0 lost**" in page
    assert "job:dev/small gains arn:role" in page


def test_a_comparison_in_a_terminal_begins_with_the_counts() -> None:
    output = list(lines(COMPARISON))
    assert output[:3] == [
        "What this branch changes against main (0a1b2c3d)",
        "  dev: 1 to replace",
        "  prod: no changes",
    ]
    assert "      ! its objects are lost" in output
    assert "      bucket: a → b  (replaces it)" in output
    assert "      tags.x: + 1" in output
    assert output[-2:] == ["This branch lacks 2 commits of main.", UNSEEN]


def test_a_comparison_as_json_is_complete() -> None:
    page = json.loads(json.dumps(document(COMPARISON)))
    assert page["stacks"][0]["counts"] == {"create": 0, "update": 0, "delete": 0, "replace": 1}
    assert page["stacks"][0]["changes"][0]["loss"] == change.STATEFUL[BUCKET]
    assert page["unseen"] == UNSEEN
    assert page["stacks"][0]["access"][0]["gains"] is True


def test_an_amount_stands_beside_its_source_and_date() -> None:
    output = cost_lines(COMPARISON.stacks[0].costs)
    assert output[0] == "NAT gateways: 1 → 2: +$37.96 per month"
    assert "2026-10-28" in output[-1]
    assert cost_lines([Cost(name="alarms", old=None, new=3, unit="")]) == ["alarms: none → 3"]
