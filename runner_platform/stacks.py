"""Deployed stacks, by name: what the engine knows of them. Reads only; needs the engine, a backend and its credentials.

Each answer is one short command of the engine. The SDK would first select the stack, which changes what a person has selected.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

from config import foundation, load
from config.settings import PROJECT
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from config.settings import Settings

MISSING_CLI: Final = (
    'the Pulumi CLI is not on PATH; install it, or use the sandbox\'s: eval "$(runner-platform sandbox env)"'
)


def outputs(stack: str) -> dict[str, Any]:
    """Outputs of a deployed stack, secrets in clear.

    Raises:
        FailedError: there is no such stack in the backend, or the engine cannot be run.
    """
    found: dict[str, Any] = json.loads(_ask(stack, "stack", "output", "--json", "--show-secrets"))
    return found


def deployment(stack: str) -> dict[str, Any]:
    """A deployed stack as the engine keeps it: member `deployment` of `pulumi stack export`; secrets stay encrypted.

    Raises:
        FailedError: there is no such stack in the backend, or the engine cannot be run.
    """
    return dict(json.loads(_ask(stack, "stack", "export")).get("deployment") or {})


def external_tokens(settings: Settings) -> dict[str, str]:
    """Tokens of runners that somebody else made, by class: environment first, then the stack's secret.

    Raises:
        FailedError: the stack's secrets cannot be read.
    """
    found = {name: os.environ.get(f"RUNNER_TOKEN_{name.upper()}", "").strip() for name in settings.runners}
    if not all(found.values()):
        configured = json.loads(_ask(settings.stack, "config", "--json", "--show-secrets")).get(f"{PROJECT}:tokens")
        stored = json.loads(configured["value"]) if configured is not None else {}
        found = {name: token or stored.get(name, "").strip() for name, token in found.items()}
    return {name: token for name, token in found.items() if token}


def _ask(stack: str, *arguments: str) -> str:
    folder = load.ROOT / "foundation" if stack == foundation.STACK else load.ROOT
    command = ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"]
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FailedError(MISSING_CLI) from None
    if done.returncode == 0:
        return done.stdout
    if "no stack named" in done.stderr:
        raise FailedError("the backend has no such stack; `pulumi stack ls` shows what it has")
    last = [line for line in done.stderr.splitlines() if "error:" in line] or ["the engine failed"]
    raise FailedError(last[0].strip())
