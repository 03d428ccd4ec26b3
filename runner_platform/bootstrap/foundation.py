"""The foundation's first deployment, and the move of its state into the bucket that it made.

Every step asks first whether it is done, so that a run that was interrupted goes on. The first deployment has a backend in a local folder,
which the driver heals like any other; the move is over once the bucket's state has every resource of the local one and a preview agrees
with it. Then the local one is put away and never used again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import foundation, load
from runner_platform.bootstrap import backend, checks, stack_files
from runner_platform.bootstrap.engine import PASSPHRASES, Backend
from runner_platform.driver import operations, session, state
from runner_platform.driver.display import Screen
from runner_platform.driver.project import Project
from runner_platform.driver.session import Patience
from runner_platform.errors import FailedError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from config.foundation import FoundationSettings
    from runner_platform.driver.session import Session

STACK = foundation.STACK
FOLDER = load.ROOT / "foundation"
FILE = FOLDER / f"Pulumi.{STACK}.yaml"


@dataclass(frozen=True, kw_only=True)
class Move:
    """The foundation's way from a local folder into its bucket."""

    settings: FoundationSettings
    work: Path
    """Folder of the first deployment's state; private."""
    with_key: bool
    """Whether the foundation's own key encrypts the stacks' secrets, or the caller's passphrase."""
    say: Callable[[str], None]

    @property
    def local_url(self) -> str:
        """URL of the first deployment's backend."""
        return f"file://{self.work / 'state'}"

    @property
    def target_url(self) -> str:
        """URL of the bucket as a backend."""
        return backend.state_url(self.settings, "foundation")

    def done(self) -> bool:
        """Whether the bucket has the state, and nothing of the first deployment waits any more."""
        return not (self.work / "state").exists() and bool(self.in_bucket())

    def in_bucket(self) -> set[str]:
        """URNs of the foundation's state in its bucket; empty as long as there is no bucket."""
        return _resources(self.target_url) if checks.bucket_exists(self.settings) else set()

    def require_known_bucket(self) -> None:
        """Nothing is deployed beside a bucket that no state knows: everything that exists once would be made a second time.

        Raises:
            FailedError: there is such a bucket.
        """
        if (self.work / "state").exists() or not checks.bucket_exists(self.settings) or self.in_bucket():
            return
        name = backend.bucket(self.settings)
        raise FailedError(
            f"nothing was made: bucket {name} is there, and neither it nor {self.work} has a state of {STACK}. If an earlier bootstrap made "
            f"it, name its folder with --work. If the state was in it and was lost, bring it back (docs/operate/recovery.md). A bucket that never held one is deleted"
        )

    def act(self) -> None:
        """Deploy, move, look at the result.

        Raises:
            FailedError: a step failed; the next run goes on.
            InterruptedRunError: somebody asked it to stop; the same.
        """
        local = _resources(self.local_url)
        if not local or not local <= self.in_bucket():
            self._deploy()
        self._move()
        self._verify()

    def _deploy(self) -> None:
        passphrase = self._passphrase()
        if self.with_key and not _resources(self.local_url) and stack_files.forget(FILE):
            self.say(
                f"{FILE.name}: its encryption lines are taken out; the key that the foundation makes replaces them"
            )
        (self.work / "state").mkdir(parents=True, exist_ok=True)
        with self._session(self.local_url, "up", passphrase) as begun:
            self.say(operations.up(begun, create=True).sentence)

    def _move(self) -> None:
        passphrase = self._passphrase()
        target = Backend(url=self.target_url, folder=FOLDER, passphrase=passphrase)
        if state.read(_project(target.url)) is None:
            target.run("stack", "init", STACK, "--no-select")
            self.say(f"made the stack {STACK} in {target.url}")
        if not _resources(target.url):
            local = Backend(url=self.local_url, folder=FOLDER, passphrase=passphrase)
            self._import(local.run("stack", "export", "--stack", STACK), target)
            self.say(f"the local state is in {target.url}")
        if self.with_key and _encrypted_by(target.url) != "cloud":
            key = backend.secrets_url(self.settings, "foundation")
            target.run("stack", "change-secrets-provider", key, "--stack", STACK)
            self.say("the foundation's own key encrypts the stack's secrets")
        missing = _resources(self.local_url) - _resources(target.url)
        if missing:
            raise FailedError(
                f"{target.url} lacks {len(missing)} resources of the local state, {min(missing)} among them"
            )

    def _verify(self) -> None:
        """The program, the bucket's state and the cloud must agree, opened without the passphrase where a key encrypts."""
        with self._session(self.target_url, "preview", {} if self.with_key else self._passphrase()) as begun:
            changes = operations.preview(begun).changes
        if changes:
            told = ", ".join(f"{count} {operation}" for operation, count in changes.items())
            raise FailedError(
                f"the state in {self.target_url} is not what the program says ({told}); the local state in {self.work} is whole. "
                "If the program or its settings changed meanwhile, take that back, run this again, and deploy the change afterwards"
            )
        put_away = self.work / f"moved-{secrets.token_hex(4)}"
        (self.work / "state").rename(put_away)
        self.say(f"the local state is put away in {put_away} and is never used again")

    def _import(self, deployment: str, target: Backend) -> None:
        with tempfile.TemporaryDirectory(dir=self.work) as folder:  # only its owner may read it
            file = Path(folder) / "deployment.json"
            file.write_text(deployment)
            target.run("stack", "import", "--stack", STACK, "--file", str(file))

    @contextlib.contextmanager
    def _session(self, url: str, operation: str, passphrase: Mapping[str, str]) -> Iterator[Session]:
        acting = Backend(url=url, folder=FOLDER, passphrase=passphrase)
        try:
            with acting.entered(), session.begun(_project(url), operation, Screen(as_json=False), Patience()) as begun:
                yield begun
        except (FailedError, InterruptedRunError) as error:
            # The driver knows neither the folder nor the passphrase that its own command would need.
            again = f"`runner-platform {operation} --stack {STACK}`"
            raise type(error)(str(error).replace(again, "the same `runner-platform bootstrap`")) from None

    def _passphrase(self) -> dict[str, str]:
        """The caller's, or one that lives as long as the local state does."""
        if not self.with_key:
            return given_passphrase()
        file = self.work / "passphrase"
        if not file.exists():
            self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self.work / f".passphrase.{os.getpid()}"
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            draft.replace(file)
        return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}


def given_passphrase() -> dict[str, str]:
    """The caller's passphrase, as the variable that holds it.

    Raises:
        FailedError: there is none.
    """
    given = {name: os.environ[name] for name in PASSPHRASES if os.environ.get(name)}
    if not given:
        raise FailedError("--secrets passphrase needs PULUMI_CONFIG_PASSPHRASE, and so does every later run")
    return given


def _project(url: str) -> Project:
    return Project(stack=STACK, folder=FOLDER, url=url)


def _resources(url: str) -> set[str]:
    found = state.read(_project(url))
    return {each["urn"] for each in found.resources} if found else set()


def _encrypted_by(url: str) -> str:
    """`cloud` for a key, `passphrase`, or nothing where the state has no secrets provider yet."""
    project = _project(url)
    raw: dict[str, Any] = json.loads(project.store.read(state.key_of(project)) or "{}")
    checkpoint = raw.get("checkpoint", {})
    latest = checkpoint.get("latest") or checkpoint.get("Latest") or {}  # see `state.read`
    return str((latest.get("secrets_providers") or {}).get("type") or "")
