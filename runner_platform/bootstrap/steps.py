"""The bootstrap step by step, from the first check to stacks that are ready for their first `up`. Prints each step in any case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import tenacity

from config import foundation, load
from runner_platform import stacks
from runner_platform.bootstrap import organization_checks, state_backend, static_keys
from runner_platform.bootstrap.first_deployment import FILE, FirstDeployment, caller_passphrase
from runner_platform.bootstrap.organization_checks import State
from runner_platform.bootstrap.state_backend import Backend
from runner_platform.driver import stack_state
from runner_platform.driver.project import Project, in_sandbox
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from config.foundation import FoundationSettings
    from runner_platform.bootstrap.organization_checks import Check

PROPAGATION_SECONDS: Final = 60
"""A new role may be refused for some seconds (IAM User Guide, "Changes that I make are not always immediately visible")."""
FOUNDATION_STEP: Final = "foundation: deployed, its state in the bucket"


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """One run of `runner-platform bootstrap`."""

    work: Path
    """Folder for the state of the first deployment."""
    with_key: bool
    """Whether the foundation's key encrypts the stacks' secrets, instead of the caller's passphrase."""
    dry_run: bool
    say: Callable[[str], None]

    @cached_property
    def settings(self) -> FoundationSettings:
        """The settings of the foundation."""
        return load.of_foundation()

    @cached_property
    def stacks(self) -> list[str]:
        """Names of the platform's stacks."""
        return load.stacks()

    def run(self, environment: Mapping[str, str]) -> None:
        """Check the organisation, deploy the foundation, move its state, make the platform's stacks in the bucket.

        Raises:
            SettingsError: the stack files cannot be used.
            FailedError: static keys, a check with a problem, or a failed step; the next run goes on.
        """
        stacks.agree([foundation.STACK, *self.stacks])
        self.say(self._target())
        static_keys.refuse(environment, [FILE, *map(_stack_file, self.stacks)])
        state_backend.require_cli()
        if not self.with_key:
            caller_passphrase()
        settings_by_stack = {name: load.of_stack(name) for name in self.stacks}
        self._report(organization_checks.check_organization(self.settings, settings_by_stack))
        first = FirstDeployment(settings=self.settings, work=self.work, with_key=self.with_key, say=self.say)
        first.require_known_bucket()
        self._step(FOUNDATION_STEP, done=first.is_done(), action=first.run)
        for stack in self.stacks:
            self._step(
                f"{stack}: its place in the bucket",
                done=self._is_in_bucket(stack),
                action=lambda: self._make_stack(stack),  # noqa: B023  # called at once
            )
        self.say(self._next_commands())

    def _target(self) -> str:
        accounts = ", ".join(f"{name} {account.id}" for name, account in self.settings.accounts.items())
        cloud = "the sandbox" if in_sandbox() else "AWS"
        organization = f"organisation {self.settings.organization.id}, region {self.settings.organization.region}"
        bucket = state_backend.bucket_name(self.settings)
        return f"target: {cloud}, {organization}, accounts {accounts}; state in s3://{bucket}"

    def _report(self, checks: Sequence[Check]) -> None:
        for check in checks:
            self.say(f"  {check.state.value:8} {check.name}: {check.text}")
        problems = [check.name for check in checks if check.state is State.PROBLEM]
        if problems:
            raise FailedError(f"nothing was made; in the way: {', '.join(problems)} (docs/operate/bootstrap.md)")

    def _step(self, name: str, *, done: bool, action: Callable[[], None]) -> None:
        word = "done" if done else "to do" if self.dry_run else "now"
        self.say(f"  {word:8} {name}")
        if word == "now":
            action()

    def _is_in_bucket(self, stack: str) -> bool:
        if not organization_checks.bucket_exists(self.settings):
            return False
        # With the foundation's profiles, since the platform's need roles that the foundation makes.
        url = state_backend.state_url(self.settings, "foundation")
        return stack_state.read(Project(stack=stack, folder=load.ROOT, url=url)) is not None

    def _make_stack(self, stack: str) -> None:
        """Make the stack, empty, with a key or passphrase for its secrets.

        Raises:
            FailedError: the platform's profiles do not open the account yet.
        """
        self._require_platform_profile()
        url = state_backend.state_url(self.settings, "platform")
        arguments = ["stack", "init", stack, "--no-select"]
        if self.with_key:
            state_backend.remove_encryption_lines(_stack_file(stack))
            key = state_backend.secrets_url(self.settings, "platform")
            Backend(url=url, folder=load.ROOT).run(*arguments, "--secrets-provider", key)
        else:
            Backend(url=url, folder=load.ROOT, passphrase=caller_passphrase()).run(*arguments)

    def _require_platform_profile(self) -> None:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(PROPAGATION_SECONDS),
            wait=tenacity.wait_fixed(5),
            retry=tenacity.retry_if_result(lambda check: check.state is State.PROBLEM and "AccessDenied" in check.text),
            retry_error_callback=lambda attempts: attempts.outcome.result() if attempts.outcome else None,
        )
        check = retrying(
            organization_checks.check_identity, self.settings, self.settings.platform.state_account, profiles="platform"
        )
        if check.state is State.PROBLEM:
            raise FailedError(
                f"{check.name}: {check.text}\nThe foundation stands. Somebody in its `operators` runs this again, with the output of "
                "`runner-platform profiles --platform deployer --source-profile <theirs>` in the AWS config"
            )

    def _next_commands(self) -> str:
        if self.dry_run:
            return "nothing was changed (--dry-run)"
        files = " ".join(["foundation/" + FILE.name, *(_stack_file(stack).name for stack in self.stacks)])
        commit = [f'git commit -m "Secrets of the stacks: our own key" {files}'] if self.with_key else []
        lines = [
            *commit,
            'export PULUMI_BACKEND_URL="$(runner-platform backend)"',
            "export GITLAB_TOKEN=…                     # docs/operate/gitlab-tokens.md",
            f"runner-platform up --stack {self.stacks[0] if self.stacks else '…'}",
        ]
        return "\n".join(["next:", *(f"  {line}" for line in lines)])


def _stack_file(stack: str) -> Path:
    return load.ROOT / f"Pulumi.{stack}.yaml"
