"""Deployed stacks, by name: what the engine knows of them. Reads only; needs the engine, a backend and its credentials."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from pulumi import automation

from automation.errors import FailedError
from config import foundation, load
from config.settings import PROJECT

if TYPE_CHECKING:
    from config.settings import Settings


def outputs(stack: str) -> dict[str, Any]:
    """Outputs of a deployed stack, secrets in clear.

    Raises:
        FailedError: there is no such stack in the backend, or the engine cannot be run.
    """
    return {name: output.value for name, output in _run(lambda: _select(stack).outputs()).items()}


def deployment(stack: str) -> dict[str, Any]:
    """A deployed stack as the engine keeps it: member `deployment` of `pulumi stack export`; secrets stay encrypted.

    Raises:
        FailedError: there is no such stack in the backend, or the engine cannot be run.
    """
    exported = _run(lambda: _select(stack).export_stack())
    return dict(exported.deployment or {})


def external_tokens(settings: Settings) -> dict[str, str]:
    """Tokens of runners that somebody else made, by class: environment first, then the stack's secret.

    Raises:
        FailedError: the stack's secrets cannot be read.
    """
    found = {name: os.environ.get(f"RUNNER_TOKEN_{name.upper()}", "").strip() for name in settings.runners}
    if not all(found.values()):
        configured = _run(lambda: _select(settings.stack).get_all_config()).get(f"{PROJECT}:tokens")
        stored = json.loads(configured.value) if configured is not None else {}
        found = {name: token or stored.get(name, "").strip() for name, token in found.items()}
    return {name: token for name, token in found.items() if token}


def _select(stack: str) -> automation.Stack:
    folder = load.ROOT / "foundation" if stack == foundation.STACK else load.ROOT
    return automation.select_stack(stack_name=stack, work_dir=str(folder))


def _run(call: Any) -> Any:
    try:
        return call()
    except automation.StackNotFoundError:
        raise FailedError("the backend has no such stack; `pulumi stack ls` shows what it has") from None
    except automation.CommandError as error:
        last = [line for line in str(error).splitlines() if "error:" in line] or ["the engine failed"]
        raise FailedError(last[0].strip()) from None
    except FileNotFoundError:
        raise FailedError(
            'the Pulumi CLI is not on PATH; install it, or use the sandbox\'s: eval "$(runner-platform sandbox env)"'
        ) from None
