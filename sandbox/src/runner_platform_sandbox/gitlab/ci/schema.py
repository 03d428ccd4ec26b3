"""The first check of a pipeline file: the schema that GitLab publishes for its editor, and keywords that the sandbox lacks.

The schema is app/assets/javascripts/editor/schema/ci.json of GitLab; check-jsonschema brings it, and uv.lock says in which version. It is asked
after `extends` and `!reference` are resolved, because GitLab itself checks what results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, best_match

from runner_platform_sandbox.gitlab.ci.document import likely
from runner_platform_sandbox.gitlab.ci.errors import PipelineError

GLOBAL: Final = (
    "stages",
    "variables",
    "workflow",
    "default",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
)
"""Keywords of the top level that are no jobs; the last five are the old form of `default`."""
MISSING: Final = {
    "job": frozenset(
        {
            "trigger",
            "release",
            "pages",
            "publish",
            "run",
            "secrets",
            "only",
            "except",
            "identity",
            "inputs",
            "dast_configuration",
        }
    ),
    "environment": frozenset({"kubernetes"}),
    "needs": frozenset({"pipeline", "project"}),
    "artifacts": frozenset({"public"}),
    "default": frozenset({"identity"}),
    "workflow": frozenset({"auto_cancel"}),
}
"""Keywords that GitLab has and the sandbox's GitLab lacks, by the keyword above them."""


def check_job(name: str, job: Mapping[str, Any]) -> None:
    """Refuse a job with an unknown keyword, a wrong value, or a keyword that the sandbox lacks."""
    where = f"job {name}"
    _refuse_missing("job", job, where)
    _check("job", job, where)
    for keyword in ("environment", "needs", "artifacts"):
        value = job.get(keyword)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                _refuse_missing(keyword, item, f"{where}: {keyword}")
    if "script" not in job:
        raise PipelineError(
            f"{where}: it has no `script`; add one, or begin its name with a dot if other jobs extend it"
        )


def check_top_level(config: Mapping[str, Any]) -> None:
    """Refuse a wrong keyword of the top level, and names that are neither keyword nor job."""
    for keyword in GLOBAL:
        value = config.get(keyword)
        if isinstance(value, Mapping):
            if "script" in value:
                raise PipelineError(
                    f"job {keyword}: `{keyword}` is a keyword of the top level; give the job another name"
                )
            _refuse_missing(keyword, value, f"`{keyword}`")
        if value is not None:
            _check(keyword, value, f"`{keyword}`")
    for name, value in config.items():
        if name not in GLOBAL and not name.startswith(".") and not isinstance(value, Mapping):
            raise PipelineError(
                f"top level: `{name}` is neither a keyword nor a job{likely(name, (*GLOBAL, 'include'))}; write a job with `script`"
            )


def check_include(entry: Mapping[str, Any], file: str) -> None:
    """Refuse an entry of `include` with an unknown keyword."""
    keywords = {
        keyword for way in _schema()["definitions"]["include_item"]["oneOf"] for keyword in way.get("properties", {})
    }
    for keyword in set(entry) - keywords:
        raise PipelineError(
            f"{file}: `include` has no keyword `{keyword}`{likely(keyword, keywords)}; remove or correct it"
        )


def job_keywords() -> set[str]:
    """Return the keywords of jobs that GitLab has."""
    return set(_schema()["definitions"]["job_template"]["properties"])


def _refuse_missing(parent: str, config: Mapping[str, Any], where: str) -> None:
    for keyword in config:
        if keyword in MISSING.get(parent, ()):
            raise PipelineError(
                f"{where}: `{keyword}` is not known to the sandbox's GitLab; remove it or run this pipeline in GitLab"
            )


@cache
def _schema() -> dict[str, Any]:
    package = find_spec("check_jsonschema")  # importing it would load its command line, half a second
    if package is None or package.origin is None:
        raise RuntimeError(
            "the package check-jsonschema, which brings GitLab's schema, is not installed; run `make setup`"
        )
    file = Path(package.origin).parent / "builtin_schemas/vendor/gitlab-ci.json"
    schema: dict[str, Any] = json.loads(file.read_text())
    for lax in (schema["properties"]["workflow"], schema["definitions"]["cache_item"]):
        lax["additionalProperties"] = False  # as GitLab itself decides
    return schema


@cache
def _validator(part: str) -> Draft7Validator:
    own = {"$ref": "#/definitions/job"} if part == "job" else _schema()["properties"].get(part, {})
    return Draft7Validator({**own, "definitions": _schema()["definitions"]})


def _check(part: str, value: Any, where: str) -> None:
    error = best_match(_validator(part).iter_errors(value))
    if error is not None:
        path = ": ".join(f"`{step}`" if isinstance(step, str) else f"item {step + 1}" for step in error.absolute_path)
        raise PipelineError(f"{where}{f': {path}' if path else ''}: {_explained(error)}")


def _explained(error: ValidationError) -> str:
    """Say what a schema error means, with the remedy."""
    expected: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        keywords = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        wrong = next(str(key) for key in error.instance if key not in keywords)
        return f"GitLab has no keyword `{wrong}` here{likely(wrong, keywords)}; remove or correct it"
    if error.validator == "enum":
        return f"`{error.instance}` is not allowed; use one of {', '.join(map(str, expected))}"
    if error.validator == "type":
        kinds = expected if isinstance(expected, list) else [expected]
        return f"{error.instance!r} has the wrong type; give {' or '.join(kinds)}"
    if error.validator in {"anyOf", "oneOf"} and isinstance(error.instance, bool | int | float):
        return f"{json.dumps(error.instance)} is no text; put it in quotes"
    if error.validator == "required":
        return f"{error.message}; add it"
    return f"GitLab's schema refuses the value: {error.message}; compare it with docs.gitlab.com/ci/yaml"
