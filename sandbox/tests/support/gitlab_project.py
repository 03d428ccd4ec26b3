"""A served GitLab with one project, and the calls of a runner, for tests of pipelines."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gitlab
import requests

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.gitlab.server import GitLab, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitlab.v4.objects import Project, ProjectPipeline

PATH = "senncloud/deployments"
AUTHOR = {"NAME": "A Person", "EMAIL": "person@example.com"}


@dataclass
class FakeRunner:
    """What a GitLab Runner says to GitLab."""

    url: str
    token: str
    last_update: str = ""

    def request(self, **fields: Any) -> requests.Response:
        """Ask for a job."""
        body = {"token": self.token, "system_id": "r_test", "last_update": self.last_update, **fields}
        answer = requests.post(f"{self.url}/api/v4/jobs/request", json=body, timeout=30)
        self.last_update = answer.headers.get("X-GitLab-Last-Update", self.last_update)
        return answer

    def job(self) -> dict[str, Any]:
        """Take the next job."""
        answer = self.request()
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def trace(self, job: dict[str, Any], text: bytes, begin: int = 0) -> requests.Response:
        """Send a part of a trace."""
        headers = {
            "JOB-TOKEN": job["token"],
            "Content-Range": f"{begin}-{begin + len(text) - 1}",
            "Content-Type": "text/plain",
        }
        return requests.patch(f"{self.url}/api/v4/jobs/{job['id']}/trace", data=text, headers=headers, timeout=5)

    def finish(self, job: dict[str, Any], state: str = "success", **fields: Any) -> requests.Response:
        """Report the end of a job."""
        body = {"token": job["token"], "state": state, **fields}
        return requests.put(f"{self.url}/api/v4/jobs/{job['id']}", json=body, timeout=5)

    def run_all(self, states: dict[str, str] | None = None) -> list[str]:
        """Take jobs until there is none, end each as told (success unless named), and return their names."""
        names = []
        while (answer := self.request()).status_code == 201:
            job = answer.json()
            names.append(job["job_info"]["name"])
            self.finish(job, (states or {}).get(names[-1], "success"))
        return names


@dataclass
class Served:
    """A GitLab that answers over HTTP."""

    url: str
    gitlab: GitLab
    folder: Path
    token: str = GITLAB_TOKEN
    client: gitlab.Gitlab = field(init=False)

    def __post_init__(self) -> None:
        self.client = gitlab.Gitlab(self.url, private_token=self.token)

    @property
    def project(self) -> Project:
        """The project, for its owner."""
        return self.client.projects.get(PATH)

    def push(self, files: dict[str, str], *refs: str, token: str | None = None) -> str:
        """Commit files on a fresh history and push them to refs (default: main); return the commit."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        git(work, "init", "--quiet", "--initial-branch", "main")
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--allow-empty", "--message", "A change")
        remote = self.url.replace("://", f"://oauth2:{token or self.token}@")
        git(
            work,
            "push",
            "--quiet",
            "--force",
            f"{remote}/{PATH}.git",
            *(f"HEAD:{ref}" for ref in refs or ["refs/heads/main"]),
        )
        return git(work, "rev-parse", "HEAD").strip()

    def pipeline(self, text: str, ref: str = "main", **parameters: Any) -> ProjectPipeline:
        """Push a pipeline file and start its pipeline."""
        self.push({".gitlab-ci.yml": text}, f"refs/heads/{ref}")
        return self.project.pipelines.create({"ref": ref, **parameters})

    def statuses(self, pipeline: ProjectPipeline) -> dict[str, str]:
        """Return the statuses of a pipeline's jobs by name."""
        return {job.name: job.status for job in pipeline.jobs.list(get_all=True)}

    def runner(self, *tags: str, **fields: Any) -> FakeRunner:
        """Create a group runner."""
        parameters = {"runner_type": "group_type", "group_id": 1234, "tag_list": list(tags), "run_untagged": not tags}
        made = self.client.http_post("/user/runners", post_data={**parameters, **fields})
        return FakeRunner(self.url, made["token"])


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a GitLab whose state is in a folder."""
    fake = GitLab(folder / "gitlab", "https://gitlab.com")
    server = serve(fake, 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_address[1]}", fake, folder)
    finally:
        server.shutdown()
        server.server_close()


def git(folder: Path, *arguments: str) -> str:
    """Run Git without the person's settings; return its output."""
    people = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in AUTHOR.items()}
    closed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    environment = {"PATH": os.environ["PATH"], **people, **closed}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
