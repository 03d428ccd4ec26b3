"""A company that starts with the platform: a clone, an empty organisation, and a bootstrap that was killed once.

Tests change the company, so each test file has its own fixture `company`. Commands run as in the runner image: the clone's own code with
the locked packages. Tests do not write to this repository.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import requests

from runner_platform_sandbox.organization import PROJECT
from tests.support.ci_components import commands, component, run, variables_of
from tests.support.running_sandbox import Completed, Sandbox
from tests.support.small_repository import git
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOOTSTRAP_SETS = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE")
"""Variables of `sandbox env` that a company does not have: the bootstrap decides about its state and secrets."""
RESOURCES_BEFORE_KILL = 30
"""Resources of the foundation after which the first bootstrap is killed."""


@dataclass
class Company:
    """A clone with its sandbox, environment and state."""

    sandbox: Sandbox
    folder: Path
    runs: dict[str, Completed] = field(default_factory=dict)
    """Completed runs of the bootstrap: `dry`, `resumed`, `again`."""

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def environment(self) -> Path:
        """Python environment, as the runner image has it in /opt/runner-platform."""
        return self.folder / "environment"

    @property
    def work(self) -> Path:
        """Folder of the first deployment's state."""
        return self.folder / "work"

    @property
    def variables(self) -> dict[str, str]:
        """Environment after `sandbox env`, with the clone's own command first on PATH, and the clone's own sandbox."""
        variables = {name: value for name, value in self.sandbox.variables.items() if name not in BOOTSTRAP_SETS}
        return {
            **variables,
            "PATH": f"{self.environment / 'bin'}:{variables['PATH']}",
            "PYTHONPATH": str(self.clone / "sandbox/src"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }

    def make(self) -> None:
        """Clone the working tree with its uncommitted changes, and create the environment."""
        files = git(PROJECT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        for name in files:
            if (PROJECT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, self.clone / name)
        git(self.clone, "init", "-q", "-b", "main")
        self.commit("everything")
        (self.environment / "bin").mkdir(parents=True)
        shutil.copy(PROJECT / "uv.lock", self.environment / "uv.lock")
        for file in (PROJECT / ".venv").iterdir():
            if file.name != "bin":
                (self.environment / file.name).symlink_to(file)
        for program in (PROJECT / ".venv" / "bin").iterdir():
            if program.name != "runner-platform":
                (self.environment / "bin" / program.name).symlink_to(program)
        command = (
            (PROJECT / "image/bin/runner-platform").read_text().replace("/opt/runner-platform", str(self.environment))
        )
        (self.environment / "bin/runner-platform").write_text(command)
        (self.environment / "bin/runner-platform").chmod(0o755)
        (self.clone / ".venv").symlink_to(self.environment)

    def commit(self, message: str) -> str:
        """Commit all changes and return the commit."""
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "-m", message)
        return git(self.clone, "rev-parse", "HEAD")

    def command(self, *arguments: str, **more: str) -> Completed:
        """Run `runner-platform …` in the clone."""
        return self.sandbox.run(["runner-platform", *arguments], {**self.variables, **more}, self.clone)

    def pulumi(self, *arguments: str) -> Completed:
        """Run `pulumi` in the clone, with the backend that `runner-platform backend` prints."""
        backend = self.command("backend").stdout.strip()
        variables = {**self.variables, "PULUMI_BACKEND_URL": backend}
        return self.sandbox.run(["pulumi", *arguments, "--non-interactive", "--color", "never"], variables, self.clone)

    def bootstrap(self, *options: str) -> Completed:
        """Run `runner-platform bootstrap`."""
        return self.command("bootstrap", "--work", str(self.work), *options)

    def kill_the_first_bootstrap(self) -> None:
        """Start the bootstrap, and kill it when part of the foundation exists."""
        process = subprocess.Popen(
            ["runner-platform", "bootstrap", "--work", str(self.work)],
            cwd=self.clone,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        state = self.work / "state/.pulumi/stacks/runner-platform-foundation/foundation.json"
        until(
            lambda: state.exists() and state.read_text().count('"urn"') > RESOURCES_BEFORE_KILL,
            "part of the foundation",
            300,
        )
        process.send_signal(signal.SIGKILL)
        process.wait()

    def token(self, ref: str = "main") -> str:
        """Return an ID token of a job on a branch of the platform's project."""
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
        """Run a job of the platform's pipeline: before_script and script in one shell, with GitLab's variables.

        Args:
            name: name of the job.
            without: prefixes of the environment variables to remove.
            more: variables of this job alone.
        """
        job = component("platform").jobs(environment=str(self.environment), folder=str(self.folder))[name]
        variables = {
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
            **({"RUNNER_PLATFORM_ID_TOKEN": self.token()} if job.id_tokens else {}),
            **more,
        }
        return run(commands(job), self.clone, variables_of(job, variables), seconds=1800)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A company after its bootstrap; the first attempt was killed."""
    folder = tmp_path_factory.mktemp("company")
    new_company = Company(Sandbox(folder / "root"), folder)
    new_company.make()
    try:
        started = new_company.sandbox.command("start")
        assert started.returncode == 0, started.stderr
        new_company.runs["dry"] = new_company.bootstrap("--dry-run")
        new_company.kill_the_first_bootstrap()
        new_company.runs["resumed"] = new_company.bootstrap()
        new_company.runs["again"] = new_company.bootstrap()
        yield new_company
    finally:
        new_company.sandbox.stop()
