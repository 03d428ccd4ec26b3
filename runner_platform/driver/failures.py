"""What is said of a run that the engine ended with an error: its own words, whose fault it is, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runner_platform.driver.events import Progress

SHOWN: Final = 10


def of_run(operation: str, stack: str, progress: Progress, error: Exception, exit_code: int) -> str:
    """A failed run.

    Args:
        operation: the command, such as `up`.
        stack: name of the stack.
        progress: what the engine told while it ran.
        error: what the SDK raised.
        exit_code: the engine's; minus the signal's number where a signal ended it.
    """
    lines = [f"{operation} of {stack} failed:"]
    if exit_code < 0:
        lines.append(f"  the engine was ended by signal {-exit_code}")
    said = list(dict.fromkeys(progress.errors)) or [last_words(error)]
    lines += [f"  {text}" for text in said[:SHOWN]]
    if len(said) > SHOWN:
        lines.append(f"  and {len(said) - SHOWN} more")
    lines += [
        f"  {each['policy']} ({each['level']}): {each['message']}"
        for each in progress.violations
        if each["level"] == "mandatory"
    ]
    if progress.expired:
        lines.append(
            "  credentials ran out, or are refused: AWS renews those of a profile as long as its token file or source profile is valid; "
            "a GitLab ID token ends with its job's timeout"
        )
    lines.append(f"  what was made is in the state; `runner-platform {operation} --stack {stack}` goes on from there")
    return "\n".join(lines)


def last_words(error: Exception) -> str:
    """The engine's own error lines, without the usage and the SDK's frame."""
    text = str(error)
    said = [line.strip() for line in text.splitlines() if "error:" in line]
    return "\n  ".join(dict.fromkeys(said[:SHOWN])) or text.strip()[-2000:]
