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
_INCLUDE: Final[Mapping[str, Any]] = {
    "additionalProperties": False,
    "properties": {
        **{
            way: {"type": "string"}
            for way in ("local", "project", "ref", "component", "template", "remote", "artifact")
        },
        "file": {"type": ["string", "array"], "items": {"type": "string"}},
        "inputs": {"type": ["object", "null"]},
        "rules": {"$ref": "#/definitions/includeRules"},
        **{keyword: {} for keyword in ("job", "integrity", "cache")},
    },
}
"""An entry of `include`: GitLab's schema also looks at the ends of paths, where GitLab allows variables."""


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
    _check_when(job, where)
    matrix = job["parallel"]["matrix"] if isinstance(job.get("parallel"), Mapping) else [{"": 1}]
    if not matrix or not all(entry and all(value != [] for value in entry.values()) for entry in matrix):
        raise PipelineError(f"{where}: `parallel: matrix` has an empty list; give each variable at least one value")


def _check_when(job: Mapping[str, Any], where: str) -> None:
    if job.get("when") == "never":
        raise PipelineError(f"{where}: `when: never` belongs into a rule; write `rules: [{{when: never}}]`")
    if "start_in" in job and job.get("when") != "delayed":
        raise PipelineError(f"{where}: `start_in` is for `when: delayed` only; remove it or change `when`")


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


def check_spec(spec: Any, file: str) -> None:
    """Refuse a wrong header of a file."""
    _check("spec", spec, f"{file}: `spec`")


def check_include(entry: Mapping[str, Any], file: str) -> None:
    """Refuse an entry of `include` with an unknown keyword or a value of a wrong type."""
    _check("include", entry, f"{file}: `include`")


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
    parts: dict[str, Mapping[str, Any]] = {
        **_schema()["properties"],
        "job": {"$ref": "#/definitions/job"},
        "include": _INCLUDE,
    }
    own = parts.get(part, {})
    return Draft7Validator({**own, "definitions": _schema()["definitions"]})


def _check(part: str, value: Any, where: str) -> None:
    error = best_match(_validator(part).iter_errors(value))
    if error is not None:
        path = ": ".join(f"`{step}`" if isinstance(step, str) else f"item {step + 1}" for step in error.absolute_path)
        raise PipelineError(f"{where}{f': {path}' if path else ''}: {_explained(error)}")


def _explained(error: ValidationError) -> str:
    """Say what a schema error means, with the remedy."""
    expected: Any = error.validator_value
    instance: Any = error.instance
    kind = error.validator
    if kind == "additionalProperties" and isinstance(instance, Mapping):
        keywords = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        wrong = next(str(key) for key in instance if key not in keywords)
        message = f"GitLab has no keyword `{wrong}` here{likely(wrong, keywords)}; remove or correct it"
    elif kind == "not" and instance == "delayed":
        message = "a delayed job needs `start_in`; add it"
    elif kind == "enum":
        message = f"`{instance}` is not allowed; use one of {', '.join(map(str, expected))}"
    elif kind == "type":
        kinds = " or ".join(expected) if isinstance(expected, list) else expected
        message = f"{instance!r} has the wrong type; give {kinds}"
    elif kind in {"anyOf", "oneOf"} and isinstance(instance, bool | int | float):
        message = f"{json.dumps(instance)} is no text; put it in quotes"
    elif kind == "required":
        message = f"{error.message}; add it"
    else:
        message = f"GitLab's schema refuses the value: {error.message}; compare it with docs.gitlab.com/ci/yaml"
    return message
