"""Rules of jobs, of `workflow` and of `include`: the first that matches decides. https://docs.gitlab.com/ci/jobs/job_rules/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.gitlab.ci import document, expressions, globs
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.variables import expand

if TYPE_CHECKING:
    from collections.abc import Collection

    from runner_platform_sandbox.gitlab.ci.context import Context, Files


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a rule can ask about."""

    context: Context
    files: Files
    raw: Mapping[str, str]
    """Values of variables as written, for `if`."""
    values: Mapping[str, str]
    """Values of variables, expanded, for `changes` and `exists`."""


def matching(rules: Sequence[Mapping[str, Any]], situation: Situation, where: str) -> Mapping[str, Any] | None:
    """Return the first rule that matches, or None.

    Args:
        rules: Rules, without nested lists.
        situation: What they ask about.
        where: Job and keyword, for messages.
    """
    for number, rule in enumerate(rules, 1):
        if not isinstance(rule, Mapping):
            raise PipelineError(
                f"{where}: rule {number}: {rule!r} is no rule; write `if`, `changes`, `exists` or `when` with a value"
            )
        if _matches(rule, situation, f"{where}: rule {number}"):
            return rule
    return None


def _matches(rule: Mapping[str, Any], situation: Situation, where: str) -> bool:
    try:
        if rule.get("if") is not None and not expressions.is_true(str(rule["if"]), situation.raw):
            return False
    except PipelineError as error:
        raise PipelineError(f"{where}: {error}") from None
    if "changes" in rule and not _changed(rule["changes"], situation, where):
        return False
    return "exists" not in rule or _exists(rule["exists"], situation, where)


def _patterns(clause: Any, situation: Situation, where: str) -> list[str]:
    paths = clause.get("paths") if isinstance(clause, Mapping) else clause
    if paths is None:
        raise PipelineError(f"{where}: `regexp` is not known to the sandbox's GitLab; write patterns below `paths`")
    return [expand(path, situation.values) for path in document.flat(paths)]


def _changed(clause: Any, situation: Situation, where: str) -> bool:
    patterns = _patterns(clause, situation, where)
    changed: Collection[str] | None = situation.context.changed_files
    if isinstance(clause, Mapping) and "compare_to" in clause:
        ref = expand(clause["compare_to"], situation.values)
        changed = situation.files.changed_since(ref)
        if changed is None:
            raise PipelineError(
                f"{where}: `compare_to` names {ref}, which is no ref of the project; name a branch, tag or commit"
            )
    return changed is None or any(globs.matches(pattern, path) for path in changed for pattern in patterns)


def _exists(clause: Any, situation: Situation, where: str) -> bool:
    patterns = _patterns(clause, situation, where)
    files = situation.files
    if isinstance(clause, Mapping) and "project" in clause:
        project = expand(clause["project"], situation.values)
        other_files = files.project(project, expand(clause["ref"], situation.values) if "ref" in clause else None)
        if other_files is None:
            raise PipelineError(
                f"{where}: `exists` names project {project}, which the sandbox's GitLab does not have; correct path and ref"
            )
        files = other_files
    return any(globs.matches(pattern, path) for path in files.paths() for pattern in patterns)
