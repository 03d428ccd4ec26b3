"""The note of a merge request: found again, updated in place, and unreviewed text in it stays text."""

from __future__ import annotations

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.cli import main
from runner_platform.errors import FailedError
from runner_platform.review import note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME, SOMEBODY = 7, 8
TOKEN = "glpat-given"


class Notes(BaseHTTPRequestHandler):
    """GitLab's notes of merge request 3 of project 42, by its reference: pages, authors, POST, PUT."""

    server: Any

    def _answer(self, status: int, document: Any, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(length)) if length else {}
        self.server.seen.append((self.command, self.path))
        notes: list[dict[str, Any]] = self.server.notes
        if self.headers.get("PRIVATE-TOKEN") != TOKEN:
            self._answer(401, {"message": "401 Unauthorized"})
        elif self.path == "/api/v4/user":
            self._answer(200, {"id": ME, "username": "bot"})
        elif self.command == "GET" and self.path.startswith("/api/v4/projects/42/merge_requests/3/notes?"):
            page = int((re.search(r"[?&]page=(\d+)", self.path) or ["", "1"])[1])
            more = {"X_Next_Page": str(page + 1)} if page < len(notes) else {}
            link = f"http://{self.headers['Host']}{re.sub(r'[?&]page=[0-9]+', '', self.path)}&page={page + 1}"
            self._answer(200, notes[page - 1 : page], **(more and {**more, "Link": f'<{link}>; rel="next"'}))
        elif self.command == "POST" and self.path == "/api/v4/projects/42/merge_requests/3/notes":
            notes.append({"id": len(notes) + 1, "body": sent["body"], "author": {"id": ME}, "system": False})
            self._answer(201, notes[-1])
        elif self.command == "PUT" and (match := re.search(r"/merge_requests/3/notes/(\d+)$", self.path)):
            next(existing for existing in notes if existing["id"] == int(match[1]))["body"] = sent["body"]
            self._answer(200, notes[int(match[1]) - 1])
        else:
            self._answer(404, {"message": f"404 {self.path}"})

    do_GET = do_POST = do_PUT = _handle  # noqa: N815  # the library's names

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gitlab() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    server.daemon_threads = True
    server.notes, server.seen = [], []  # type: ignore[attr-defined]  # state of the handler
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def target(server: Any) -> note.Target:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    return note.Target(url=url, project="42", merge_request="3", commit="0a1b2c3d4e", pipeline="https://gitlab.com/p/1")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for stack in ("dev", "prod"):
        (tmp_path / stack).mkdir()
        (tmp_path / stack / "summary.md").write_text(f"### `{stack}`: no changes\n")
        (tmp_path / stack / "changes.md").write_text("# Changes\n")
    return tmp_path


def test_the_first_run_creates_a_note_and_later_runs_update_it(gitlab: Any) -> None:
    run = target(gitlab)
    body = f"{note.MARKER}\nfirst"
    assert note.publish(run, TOKEN, body) == "created"
    assert note.publish(run, TOKEN, body) == "unchanged"
    assert note.publish(run, TOKEN, body.replace("first", "second")) == "updated"
    assert [posted["body"] for posted in gitlab.notes] == [f"{note.MARKER}\nsecond"]


def test_a_note_on_a_later_page_is_found(gitlab: Any) -> None:
    gitlab.notes += [{"id": n, "body": "hello", "author": {"id": ME}, "system": False} for n in range(1, 6)]
    gitlab.notes.append({"id": 6, "body": f"{note.MARKER}\nold", "author": {"id": ME}, "system": False})
    assert note.publish(target(gitlab), TOKEN, f"{note.MARKER}\nnew") == "updated"
    assert gitlab.notes[5]["body"].endswith("new")
    assert len(gitlab.notes) == 6


@pytest.mark.parametrize(
    "foreign",
    [
        {"author": {"id": SOMEBODY}, "body": f"{note.MARKER}\nmine", "system": False},
        {"author": {"id": ME}, "body": f"> {note.MARKER}\na quote", "system": False},
    ],
)
def test_a_note_of_another_author_or_a_quote_is_not_overwritten(gitlab: Any, foreign: dict[str, Any]) -> None:
    gitlab.notes.append({"id": 1, **foreign})
    assert note.publish(target(gitlab), TOKEN, f"{note.MARKER}\nnew") == "created"
    assert gitlab.notes[0]["body"] == foreign["body"]


def test_a_refused_token_is_an_error_without_the_token(gitlab: Any) -> None:
    with pytest.raises(FailedError, match="needs scope `api` and the role Reporter") as refused:
        note.publish(target(gitlab), "glpat-wrong", "x")
    assert "glpat" not in str(refused.value)


def test_the_note_has_every_stack_and_its_commit(gitlab: Any, reports: Path) -> None:
    text = note.body(reports, target(gitlab))
    assert text.startswith(f"{note.MARKER}\nAt `0a1b2c3d`, from [this pipeline](https://gitlab.com/p/1).")
    assert text.index("### `dev`: no changes") < text.index("### `prod`: no changes")
    assert text.count("<details><summary>All changes</summary>") == 2


def test_text_of_unreviewed_files_is_escaped(gitlab: Any, reports: Path) -> None:
    (reports / "dev/summary.md").write_text(f"/approve\n{note.MARKER}\n@all look\n")
    text = note.body(reports, target(gitlab))
    assert text.count("<!--") == 1
    assert not re.search(r"^\s*/\w", text, re.MULTILINE)
    assert "@all" not in text


@pytest.mark.parametrize("place", ["dev/summary.md", "dev/changes.md", "prod"])
def test_a_link_in_an_artifact_is_not_followed(gitlab: Any, reports: Path, tmp_path_factory: Any, place: str) -> None:
    secret = tmp_path_factory.mktemp("job")
    (secret / "summary.md").write_text("the job's environment")
    link = reports / place
    if link.is_dir():
        for file in link.iterdir():
            file.unlink()
        link.rmdir()
        link.symlink_to(secret)
    else:
        link.unlink()
        link.symlink_to(secret / "summary.md")
    assert "the job's environment" not in note.body(reports, target(gitlab))


def test_a_long_file_is_named_instead_of_shown(gitlab: Any, reports: Path) -> None:
    (reports / "dev/changes.md").write_text("x" * (note.LONGEST_FILE + 1))
    text = note.body(reports, target(gitlab))
    assert "All changes: too long for a note; `changes.md` is in the artifacts" in text
    assert len(text) < note.LONGEST_FILE


def test_a_folder_without_reports_is_an_error(gitlab: Any, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"holds no summary\.md"):
        note.body(tmp_path / "none", target(gitlab))


def _command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["runner-platform", "note", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def test_the_command_finds_the_merge_request_in_variables_of_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gitlab: Any, reports: Path
) -> None:
    run = target(gitlab)
    variables = {"CI_SERVER_URL": run.url, "CI_MERGE_REQUEST_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "3"}
    for name, value in {**variables, "CI_COMMIT_SHA": run.commit, "CI_PIPELINE_URL": run.pipeline}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(note.TOKEN_VARIABLE, TOKEN)
    assert _command(monkeypatch, reports) == 0
    captured = capsys.readouterr()
    assert captured.out == "note created\n"
    assert "target: merge request 3 of project 42" in captured.err
    assert "### `dev`: no changes" in gitlab.notes[0]["body"]


def test_without_a_token_no_note_is_posted_and_the_command_succeeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reports: Path
) -> None:
    monkeypatch.delenv(note.TOKEN_VARIABLE, raising=False)
    assert _command(monkeypatch, reports) == 0
    assert "nothing is posted" in capsys.readouterr().err


def test_outside_a_merge_request_pipeline_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reports: Path
) -> None:
    monkeypatch.setenv(note.TOKEN_VARIABLE, TOKEN)
    monkeypatch.delenv("CI_MERGE_REQUEST_IID", raising=False)
    assert _command(monkeypatch, reports) == 1
    assert "no merge request to post to" in capsys.readouterr().err
