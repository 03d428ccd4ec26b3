"""The foundation's first deployment, and the move of its state into the bucket that it creates.

Every step first asks whether it is done, so that the next run goes on after an interruption. The first deployment has a backend in a local
folder, which the driver repairs like any other. The move is done once the bucket's state has every resource of the local one and a preview
agrees with it. Then the local state is put away and never used again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config import foundation, load
from runner_platform.bootstrap import organization_checks, state_backend
from runner_platform.bootstrap.state_backend import PASSPHRASES, Backend
from runner_platform.driver import deployment, run, stack_state
from runner_platform.driver.project import Project
from runner_platform.driver.run import Patience
from runner_platform.driver.screen import Screen
from runner_platform.errors import FailedError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from config.foundation import FoundationSettings
    from runner_platform.driver.run import Run

STACK = foundation.STACK
FOLDER = load.ROOT / "foundation"
FILE = FOLDER / f"Pulumi.{STACK}.yaml"


@dataclass(frozen=True, kw_only=True)
class FirstDeployment:
    """The foundation's deployment from a local folder, and the move of its state into the bucket."""

    settings: FoundationSettings
    work: Path
    """Private folder with the state of the first deployment."""
    with_key: bool
    """Whether the foundation's own key encrypts the stacks' secrets, instead of the caller's passphrase."""
    say: Callable[[str], None]

    @property
    def local_url(self) -> str:
        """URL of the local backend."""
        return f"file://{self.work / 'state'}"

    @property
    def bucket_url(self) -> str:
        """URL of the bucket as a backend."""
        return state_backend.state_url(self.settings, "foundation")

    def is_done(self) -> bool:
        """Whether the bucket has the state, and the local state is put away."""
        return not (self.work / "state").exists() and bool(self.urns_in_bucket())

    def urns_in_bucket(self) -> set[str]:
        """Return the URNs of the foundation's state in its bucket; empty if the bucket does not exist."""
        return _urns(self.bucket_url) if organization_checks.bucket_exists(self.settings) else set()

    def require_known_bucket(self) -> None:
        """Refuse a bucket without a state, since every resource would be created a second time.

        Raises:
            FailedError: such a bucket exists.
        """
        local = (self.work / "state").exists()
        if local or not organization_checks.bucket_exists(self.settings) or self.urns_in_bucket():
            return
        name = state_backend.bucket_name(self.settings)
        raise FailedError(
            f"nothing was made: bucket {name} is there, and neither it nor {self.work} has a state of {STACK}. If an earlier bootstrap made "
            f"it, name its folder with --work. If the state was in it and was lost, bring it back (docs/operate/recovery.md). "
            "If it never held a state, delete it"
        )

    def run(self) -> None:
        """Deploy the foundation, move its state, verify the result.

        Raises:
            FailedError: a step failed; the next run goes on.
            InterruptedRunError: a signal stopped the run; the next run goes on.
        """
        local = _urns(self.local_url)
        if not local or not local <= self.urns_in_bucket():
            self._deploy()
        self._move()
        self._verify()

    def _deploy(self) -> None:
        passphrase = self._passphrase()
        if self.with_key and not _urns(self.local_url) and state_backend.remove_encryption_lines(FILE):
            self.say(
                f"{FILE.name}: its encryption lines are taken out; the key that the foundation makes replaces them"
            )
        (self.work / "state").mkdir(parents=True, exist_ok=True)
        with self._driver_run(self.local_url, "up", passphrase) as current:
            self.say(deployment.up(current, create=True).sentence)

    def _move(self) -> None:
        passphrase = self._passphrase()
        bucket = Backend(url=self.bucket_url, folder=FOLDER, passphrase=passphrase)
        if stack_state.read(_project(bucket.url)) is None:
            bucket.run("stack", "init", STACK, "--no-select")
            self.say(f"made the stack {STACK} in {bucket.url}")
        if not _urns(bucket.url):
            local = Backend(url=self.local_url, folder=FOLDER, passphrase=passphrase)
            self._import(local.run("stack", "export", "--stack", STACK), bucket)
            self.say(f"the local state is in {bucket.url}")
        if self.with_key and _secrets_provider(bucket.url) != "cloud":
            key = state_backend.secrets_url(self.settings, "foundation")
            bucket.run("stack", "change-secrets-provider", key, "--stack", STACK)
            self.say("the foundation's own key encrypts the stack's secrets")
        missing = _urns(self.local_url) - _urns(bucket.url)
        if missing:
            raise FailedError(
                f"{bucket.url} lacks {len(missing)} resources of the local state, {min(missing)} among them; "
                f"the local state in {self.work} is whole, and nothing was put away"
            )

    def _verify(self) -> None:
        """Require that program, bucket's state and cloud agree, without the passphrase where a key encrypts."""
        with self._driver_run(self.bucket_url, "preview", {} if self.with_key else self._passphrase()) as current:
            changes = deployment.preview(current).changes
        if changes:
            counts = ", ".join(f"{count} {operation}" for operation, count in changes.items())
            raise FailedError(
                f"the state in {self.bucket_url} is not what the program says ({counts}); the local state in {self.work} is whole. "
                "If the program or its settings changed meanwhile, take that back, run this again, and deploy the change afterwards"
            )
        put_away = self.work / f"moved-{secrets.token_hex(4)}"
        (self.work / "state").rename(put_away)
        self.say(f"the local state is put away in {put_away} and is never used again")

    def _import(self, exported: str, bucket: Backend) -> None:
        with tempfile.TemporaryDirectory(dir=self.work) as folder:  # only its owner may read it
            file = Path(folder) / "deployment.json"
            file.write_text(exported)
            bucket.run("stack", "import", "--stack", STACK, "--file", str(file))

    @contextlib.contextmanager
    def _driver_run(self, url: str, operation: str, passphrase: Mapping[str, str]) -> Iterator[Run]:
        backend = Backend(url=url, folder=FOLDER, passphrase=passphrase)
        try:
            with backend.entered(), run.begin(_project(url), operation, Screen(as_json=False), Patience()) as current:
                yield current
        except (FailedError, InterruptedRunError) as error:
            # The driver knows neither the folder nor the passphrase that its own command would need.
            again = f"`runner-platform {operation} --stack {STACK}`"
            raise type(error)(str(error).replace(again, "the same `runner-platform bootstrap`")) from None

    def _passphrase(self) -> dict[str, str]:
        """Return the caller's passphrase, or a generated one that lives as long as the local state."""
        if not self.with_key:
            return caller_passphrase()
        file = self.work / "passphrase"
        if not file.exists():
            self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self.work / f".passphrase.{os.getpid()}"
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            draft.replace(file)
        return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}


def caller_passphrase() -> dict[str, str]:
    """Return the caller's passphrase, as the environment variable that holds it.

    Raises:
        FailedError: the environment has no passphrase.
    """
    variables = {name: os.environ[name] for name in PASSPHRASES if os.environ.get(name)}
    if not variables:
        raise FailedError(
            "--secrets passphrase needs PULUMI_CONFIG_PASSPHRASE, and so does every later run; set it and try again"
        )
    return variables


def _project(url: str) -> Project:
    return Project(stack=STACK, folder=FOLDER, url=url)


def _urns(url: str) -> set[str]:
    checkpoint = stack_state.read(_project(url))
    return {entry["urn"] for entry in checkpoint.resources} if checkpoint else set()


def _secrets_provider(url: str) -> str:
    """Return `cloud` for a key, `passphrase`, or an empty string if the state has no secrets provider yet."""
    project = _project(url)
    content = project.store.read(stack_state.key_of(project))
    latest = stack_state.latest_deployment(json.loads(content)) if content else {}
    return str((latest.get("secrets_providers") or {}).get("type") or "")
