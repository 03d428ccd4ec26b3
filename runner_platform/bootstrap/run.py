"""The bootstrap from its first question to stacks that wait for their first `up`; says each step, whether it acts or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import tenacity

from config import foundation, load
from runner_platform.bootstrap import backend, checks, engine, keys, stack_files
from runner_platform.bootstrap.checks import State
from runner_platform.bootstrap.engine import Backend
from runner_platform.bootstrap.foundation import FILE, Move, given_passphrase
from runner_platform.check import inspect
from runner_platform.driver import project, state
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from config.foundation import FoundationSettings
    from runner_platform.bootstrap.checks import Check

PROPAGATION_SECONDS: Final = 60
"""A role that was just made may be refused for some seconds (IAM User Guide, "Changes that I make are not always immediately visible")."""
FOUNDATION: Final = "foundation: deployed, its state in the bucket"


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """One run of the command."""

    work: Path
    """Folder for the first deployment's state."""
    with_key: bool
    """Whether the foundation's key encrypts the stacks' secrets, or the caller's passphrase."""
    dry_run: bool
    say: Callable[[str], None]

    @cached_property
    def settings(self) -> FoundationSettings:
        """The foundation's."""
        return load.of_foundation()

    @cached_property
    def stacks(self) -> list[str]:
        """Names of the platform's stacks."""
        return load.stacks()

    def run(self, environment: Mapping[str, str]) -> None:
        """Check, deploy the foundation, move its state, give the platform's stacks their place.

        Raises:
            SettingsError: the stack files cannot be used.
            FailedError: static keys, a check that found a problem, or a step that failed; the next run goes on.
        """
        inspect.agree([foundation.STACK, *self.stacks])
        self.say(self._target())
        keys.refuse(environment, [FILE, *map(_file, self.stacks)])
        engine.require()
        if not self.with_key:
            given_passphrase()
        self._report(checks.organization(self.settings, {name: load.of_stack(name) for name in self.stacks}))
        move = Move(settings=self.settings, work=self.work, with_key=self.with_key, say=self.say)
        move.require_known_bucket()
        self._step(FOUNDATION, done=move.done(), act=move.act)
        for stack in self.stacks:
            self._step(f"{stack}: its place in the bucket", done=self._has_place(stack), act=lambda: self._place(stack))  # noqa: B023  # called at once
        self.say(self._next())

    def _target(self) -> str:
        accounts = ", ".join(f"{name} {each.id}" for name, each in self.settings.accounts.items())
        cloud = "the sandbox" if project.in_sandbox() else "AWS"
        where = f"organisation {self.settings.organization.id}, region {self.settings.organization.region}"
        return f"target: {cloud}, {where}, accounts {accounts}; state in s3://{backend.bucket(self.settings)}"

    def _report(self, found: Sequence[Check]) -> None:
        for each in found:
            self.say(f"  {each.state.value:8} {each.name}: {each.text}")
        problems = [each.name for each in found if each.state is State.PROBLEM]
        if problems:
            raise FailedError(f"nothing was made; in the way: {', '.join(problems)} (docs/operate/bootstrap.md)")

    def _step(self, name: str, *, done: bool, act: Callable[[], None]) -> None:
        word = "done" if done else "to do" if self.dry_run else "now"
        self.say(f"  {word:8} {name}")
        if word == "now":
            act()

    def _has_place(self, stack: str) -> bool:
        if not checks.bucket_exists(self.settings):
            return False
        # Asked with the foundation's profiles: the platform's lead to roles that the foundation makes.
        url = backend.state_url(self.settings, "foundation")
        return state.read(project.Project(stack=stack, folder=load.ROOT, url=url)) is not None

    def _place(self, stack: str) -> None:
        """Make the stack, empty, with the key or the passphrase that encrypts its secrets.

        Raises:
            FailedError: the platform's profiles do not open the account yet.
        """
        self._require_platform_profile()
        url, arguments = backend.state_url(self.settings, "platform"), ["stack", "init", stack, "--no-select"]
        if self.with_key:
            stack_files.forget(_file(stack))
            key = backend.secrets_url(self.settings, "platform")
            Backend(url=url, folder=load.ROOT).run(*arguments, "--secrets-provider", key)
        else:
            Backend(url=url, folder=load.ROOT, passphrase=given_passphrase()).run(*arguments)

    def _require_platform_profile(self) -> None:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(PROPAGATION_SECONDS),
            wait=tenacity.wait_fixed(5),
            retry=tenacity.retry_if_result(lambda check: check.state is State.PROBLEM and "AccessDenied" in check.text),
            retry_error_callback=lambda attempts: attempts.outcome.result() if attempts.outcome else None,
        )
        found = retrying(checks.identity, self.settings, self.settings.platform.state_account, who="platform")
        if found.state is State.PROBLEM:
            raise FailedError(
                f"{found.name}: {found.text}\nThe foundation stands. Somebody in its `operators` runs this again, with the output of "
                "`runner-platform profiles --platform deployer --source-profile <theirs>` in the AWS config"
            )

    def _next(self) -> str:
        if self.dry_run:
            return "nothing was changed (--dry-run)"
        files = " ".join(["foundation/" + FILE.name, *(_file(stack).name for stack in self.stacks)])
        first = [f'git commit -m "Secrets of the stacks: our own key" {files}'] if self.with_key else []
        lines = [
            *first,
            'export PULUMI_BACKEND_URL="$(runner-platform backend)"',
            "export GITLAB_TOKEN=…                     # docs/operate/gitlab-tokens.md",
            f"runner-platform up --stack {self.stacks[0] if self.stacks else '…'}",
        ]
        return "\n".join(["next:", *(f"  {line}" for line in lines)])


def _file(stack: str) -> Path:
    return load.ROOT / f"Pulumi.{stack}.yaml"
