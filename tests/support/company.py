"""A company that starts with the platform: its own clone, an empty organisation, and a bootstrap that was killed once on its way.

Owns the fixture `company`, one for each file of tests since they change it, and how a command of the clone is run as in the runner image:
the clone's own code with the locked packages. Nothing of this repository is written to.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import requests

from runner_platform_sandbox.organization import PROJECT
from tests.support.ci_components import commands, component, run, variables_of
from tests.support.live import Done, Sandbox
from tests.support.small_repository import git
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACED = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE")
"""Variables of `sandbox env` that a company does not have: its state and secrets are where the bootstrap puts them."""
ENOUGH = 30
"""Resources of the foundation after which the first bootstrap is killed."""


@dataclass
class Company:
    """A clone with everything around it."""

    sandbox: Sandbox
    folder: Path
    runs: dict[str, Done] = field(default_factory=dict)
    """How the runs of the bootstrap ended: `dry`, `resumed`, `again`."""

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def environment(self) -> Path:
        """What the runner image has in /opt/runner-platform."""
        return self.folder / "environment"

    @property
    def work(self) -> Path:
        """Where the first deployment's state is."""
        return self.folder / "work"

    @property
    def variables(self) -> dict[str, str]:
        """After `sandbox env`, with the clone's own command first on PATH."""
        known = {name: value for name, value in self.sandbox.variables.items() if name not in PLACED}
        return {**known, "PATH": f"{self.environment / 'bin'}:{known['PATH']}", "GIT_CONFIG_GLOBAL": "/dev/null"}

    def make(self) -> None:
        """Clone the working tree as it is, and make the environment."""
        listed = git(PROJECT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        for name in listed:
            if (PROJECT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, self.clone / name)
        git(self.clone, "init", "-q", "-b", "main")
        self.commit("everything")
        (self.environment / "bin").mkdir(parents=True)
        shutil.copy(PROJECT / "uv.lock", self.environment / "uv.lock")
        for each in (PROJECT / ".venv").iterdir():
            if each.name != "bin":
                (self.environment / each.name).symlink_to(each)
        for each in (PROJECT / ".venv" / "bin").iterdir():
            if each.name != "runner-platform":
                (self.environment / "bin" / each.name).symlink_to(each)
        command = (
            (PROJECT / "image/bin/runner-platform").read_text().replace("/opt/runner-platform", str(self.environment))
        )
        (self.environment / "bin/runner-platform").write_text(command)
        (self.environment / "bin/runner-platform").chmod(0o755)
        (self.clone / ".venv").symlink_to(self.environment)

    def commit(self, message: str) -> str:
        """Commit everything."""
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "-m", message)
        return git(self.clone, "rev-parse", "HEAD")

    def command(self, *arguments: str, **more: str) -> Done:
        """`runner-platform …` in the clone."""
        return self.sandbox.run(["runner-platform", *arguments], {**self.variables, **more}, self.clone)

    def pulumi(self, *arguments: str) -> Done:
        """Plain `pulumi` in the clone, with the backend that the platform says."""
        backend = self.command("backend").stdout.strip()
        surroundings = {**self.variables, "PULUMI_BACKEND_URL": backend}
        return self.sandbox.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"], surroundings, self.clone
        )

    def bootstrap(self, *options: str) -> Done:
        """`runner-platform bootstrap`."""
        return self.command("bootstrap", "--work", str(self.work), *options)

    def kill_the_first_bootstrap(self) -> None:
        """Begin the bootstrap, and kill it without warning when part of the foundation is there."""
        begun = subprocess.Popen(
            ["runner-platform", "bootstrap", "--work", str(self.work)],
            cwd=self.clone,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        state = self.work / "state/.pulumi/stacks/runner-platform-foundation/foundation.json"
        until(lambda: state.exists() and state.read_text().count('"urn"') > ENOUGH, "part of the foundation", 300)
        begun.send_signal(signal.SIGKILL)
        begun.wait()

    def token(self, ref: str = "main") -> str:
        """An ID token of a job on a branch of the platform's project."""
        gitlab = self.variables["GITLAB_BASE_URL"].partition("/api/")[0]
        answer = requests.post(
            f"{gitlab}/_sandbox/id-token",
            json={
                "sub": f"project_path:senncloud/runner-platform:ref_type:branch:ref:{ref}",
                "aud": "https://gitlab.com",
            },
            headers={"PRIVATE-TOKEN": self.variables["GITLAB_TOKEN"]},
            timeout=10,
        )
        answer.raise_for_status()
        return str(answer.json()["token"])

    def job(self, name: str, without: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
        """A job of the platform's pipeline: before_script and script in one shell, with GitLab's variables as a runner sets them.

        Args:
            name: the job's.
            without: beginnings of variables that its surroundings do not have.
            more: variables of this job alone.
        """
        job: dict[str, Any] = component("platform").jobs(environment=str(self.environment), folder=str(self.folder))[
            name
        ]
        known = {
            **{key: value for key, value in self.variables.items() if not key.startswith(without)},
            "CI": "true",
            "CI_COMMIT_SHA": git(self.clone, "rev-parse", "HEAD"),
            "CI_COMMIT_REF_NAME": "main",
            "CI_JOB_ID": str(time.monotonic_ns()),
            "CI_JOB_URL": "https://gitlab.com/senncloud/runner-platform/-/jobs/1",
            "CI_PIPELINE_ID": "1",
            "CI_PROJECT_ID": "1",
            "CI_PROJECT_DIR": str(self.clone),
            "CI_PROJECT_PATH": "senncloud/runner-platform",
            "CI_SERVER_URL": "https://gitlab.com",
            **({"RUNNER_PLATFORM_ID_TOKEN": self.token()} if "id_tokens" in job else {}),
            **more,
        }
        return run(commands(job), self.clone, variables_of(job, known), seconds=1800)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A company after its bootstrap; the first attempt was killed."""
    folder = tmp_path_factory.mktemp("company")
    made = Company(Sandbox(folder / "root"), folder)
    made.make()
    try:
        started = made.sandbox.command("start")
        assert started.returncode == 0, started.stderr
        made.runs["dry"] = made.bootstrap("--dry-run")
        made.kill_the_first_bootstrap()
        made.runs["resumed"] = made.bootstrap()
        made.runs["again"] = made.bootstrap()
        yield made
    finally:
        made.sandbox.stop()
