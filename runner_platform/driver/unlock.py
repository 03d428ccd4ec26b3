"""`runner-platform unlock`: says who holds a stack, and takes away what is proven dead or what a person vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner_platform.driver import locks
from runner_platform.driver.locks import Fate
from runner_platform.errors import WrongUseError

if TYPE_CHECKING:
    from runner_platform.driver.locks import Holder
    from runner_platform.driver.project import Project


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One lock, and what became of it."""

    lock: str
    """Its id."""
    holder: str
    fate: str
    """`dead`, `alive` or `unknown`."""
    why: str
    removed: bool
    job_url: str | None

    @property
    def sentence(self) -> str:
        """For people."""
        ending = {
            Fate.DEAD.value: "removed: this lock and no other",
            Fate.ALIVE.value: "kept: it is alive. Wait for it, or cancel its job",
            Fate.UNKNOWN.value: f"kept: nothing proves it dead. If you know that it is, `--lock {self.lock}` removes it",
        }[self.fate]
        verdict = "removed, as asked" if self.removed and self.fate != Fate.DEAD.value else ending
        return f"lock {self.lock} of {self.holder}: {self.why}; {verdict}"


def unlock(project: Project, lock: str | None = None) -> list[Judgement]:
    """Judge every lock of a stack and remove the dead ones.

    Args:
        project: the stack.
        lock: id of a lock that cannot be judged and that a person knows to be dead; it alone is looked at.

    Raises:
        WrongUseError: there is no lock of that id.
        LockedError: the lock that a person vouched for is alive.
    """
    held = locks.held(project)
    if lock is None:
        return [_judged(project, each, remove=each.fate is Fate.DEAD) for each in held]
    named = [each for each in held if each.lock.id == lock]
    if not named:
        known = ", ".join(each.lock.id for each in held) or "none"
        raise WrongUseError(f"stack {project.stack} has no lock {lock!r}; it has: {known}")
    return [_judged(project, each, remove=True) for each in named]


def _judged(project: Project, holder: Holder, *, remove: bool) -> Judgement:
    if remove:
        locks.release(project, holder)
    return Judgement(
        lock=holder.lock.id,
        holder=holder.name,
        fate=holder.fate.value,
        why=holder.why,
        removed=remove,
        job_url=holder.owner.job_url if holder.owner else None,
    )
