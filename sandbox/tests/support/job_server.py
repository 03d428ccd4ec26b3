"""GitLab's side of the runner's job API, as small as the real runner accepts it: a queue of jobs for each runner token.

Nothing is decided here. A test puts jobs in, reads their logs and states, and cancels them.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT = 600


@dataclass
class Job:
    """A job and what the runner reported about it."""

    number: int
    payload: dict[str, Any]
    taken: bool = False
    cancelled: bool = False
    state: str = "pending"
    failure: str = ""
    """Reason of a failure, such as `runner_system_failure`."""
    exit_code: int | None = None
    log: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """The log."""
        return self.log.decode(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the runner reported the end."""
        return self.state in {"success", "failed"}

    def wait(self, seconds: float = 120) -> Job:
        """Wait for the job's end and return the job."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            assert time.monotonic() < deadline, f"job {self.number} did not end within {seconds:.0f} s:\n{self.text}"
            time.sleep(0.05)
        return self


class JobServer:
    """The queues, and the requests that runners made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.jobs: list[Job] = []
        self.queues: dict[str, list[Job]] = {}
        self.requests: list[tuple[str, str]] = []
        """Method and path."""
        self.verified: set[str] = set()
        self.url = ""

    def add(self, token: str, variables: Mapping[str, str] | None = None, **changes: Any) -> Job:
        """Queue a job for the runner with this token; `changes` replaces keys of the payload."""
        with self._lock:
            number = len(self.jobs) + 1
            payload = {**_payload(number, variables or {}), **changes}
            job = Job(number, payload)
            self.jobs.append(job)
            self.queues.setdefault(token, []).append(job)
            return job

    def take(self, token: str) -> dict[str, Any] | None:
        """Give the next job to a runner."""
        with self._lock:
            queue = self.queues.get(token, [])
            if not queue:
                return None
            job = queue.pop(0)
            job.taken = True
            return job.payload

    def job(self, number: str) -> Job:
        """Return a job by its number."""
        return self.jobs[int(number) - 1]


def _payload(number: int, variables: Mapping[str, str]) -> dict[str, Any]:
    own = {
        "CI_JOB_ID": str(number),
        "CI_PROJECT_DIR": "/builds/group/project",
        "CI_PROJECT_PATH": "group/project",
        "GIT_STRATEGY": "none",
    }
    return {
        "id": number,
        "token": f"glcbt-{number}",
        "allow_git_fetch": False,
        "job_info": {"name": f"job-{number}", "stage": "test", "project_id": 7, "project_name": "project"},
        "git_info": {
            "repo_url": "http://127.0.0.1:1/group/project.git",
            "ref": "main",
            "sha": "0" * 40,
            "before_sha": "0" * 40,
            "ref_type": "branch",
            "refspecs": [],
        },
        "runner_info": {"timeout": TIMEOUT},
        "variables": [{"key": key, "value": value, "public": True} for key, value in {**own, **variables}.items()],
        "steps": [
            {"name": "script", "script": ["true"], "timeout": TIMEOUT, "when": "on_success", "allow_failure": False}
        ],
        "image": {"name": "image.example.com/any:1"},
        "services": [],
        "features": {"trace_sections": True},
    }


@contextmanager
def serving() -> Iterator[JobServer]:
    """Serve on a free loopback port."""
    jobs = JobServer()

    class Handler(_Handler):
        served = jobs

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    jobs.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield jobs
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: JobServer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/api/v4")
        self.served.requests.append((self.command, path))
        match path.strip("/").split("/"):
            case ["runners", "verify"]:
                token = json.loads(body)["token"]
                self.served.verified.add(token)
                self._send(200, {"id": 1, "token": token, "token_expires_at": None})
            case ["jobs", "request"]:
                payload = self.served.take(json.loads(body)["token"])
                self._send(201 if payload else 204, payload)
            case ["jobs", number]:
                self._update(self.served.job(number), json.loads(body))
            case ["jobs", number, "trace"]:
                self._trace(self.served.job(number), body)
            case ["runners", *_]:
                self._send(204, None)
            case _:
                self._send(404, {"message": "404 Not Found"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  # names of http.server

    def _update(self, job: Job, update: dict[str, Any]) -> None:
        job.state = update["state"]
        job.failure = update.get("failure_reason") or ""
        job.exit_code = update.get("exit_code")
        self._send(200, {}, {"Job-Status": _status(job)})

    def _trace(self, job: Job, body: bytes) -> None:
        start = int(self.headers["Content-Range"].partition("-")[0])
        del job.log[start:]
        job.log.extend(body)
        headers = {"Job-Status": _status(job), "Range": f"0-{len(job.log)}", "X-GitLab-Trace-Update-Interval": "1"}
        self._send(202, None, headers)

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def _status(job: Job) -> str:
    return "canceled" if job.cancelled else "running"
