"""A pipeline file's text as YAML: header and configuration, `!reference`, `extends`.

https://docs.gitlab.com/ci/yaml/yaml_optimization/
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from runner_platform_sandbox.gitlab.ci.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Config: TypeAlias = "dict[str, Any]"

_SEPARATOR: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DEEPEST: Final = 10
"""GitLab's limit for chains of `extends`, and of `!reference`."""


class Reference(list[str]):
    """`!reference [job, keyword]`, until it is looked up."""


def _reference(loader: yaml.SafeLoader, node: yaml.Node) -> Reference:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(
            None, None, "!reference needs a list, as in [job, script]", node.start_mark
        )
    return Reference(str(item) for item in loader.construct_sequence(node))


_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
"""YAML with GitLab's own tag, in C where PyYAML has it."""
_Loader.add_constructor("!reference", _reference)


def parts(text: str) -> tuple[str | None, str]:
    """Split a file at `---` into its header, None if it has none, and its configuration."""
    documents = [document for document in _SEPARATOR.split(text) if _has_content(document)]
    if len(documents) > 1:
        return documents[0], "\n".join(documents[1:])
    only = documents[0] if documents else ""
    return (only, "") if re.search(r"^spec:", only, re.MULTILINE) else (None, only)


def _has_content(document: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in document.splitlines())


def parse(text: str, file: str) -> Config:
    """Read YAML.

    Args:
        text: The text.
        file: Name of the file, for messages.

    Raises:
        PipelineError: The text is no YAML, or not a mapping.
    """
    try:
        config = yaml.load(text, _Loader)  # noqa: S506  # derives from the safe loader
    except yaml.YAMLError as error:
        raise PipelineError(f"{file}: it is no YAML: {' '.join(str(error).split())}; mend the text") from None
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise PipelineError(
            f"{file}: it holds {type(config).__name__}, not a mapping; write jobs as `name:` with keywords below"
        )
    return {str(key): _with_text_keys(value) for key, value in config.items()}


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list) and not isinstance(value, Reference):
        return [_with_text_keys(item) for item in value]
    return value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Config:
    """Merge mappings at any depth. Lists and other values of `above` replace those of `below`."""
    result = dict(below)
    for key, value in above.items():
        base = result.get(key)
        result[key] = merged(base, value) if isinstance(base, dict) and isinstance(value, dict) else value
    return result


def extended(config: Config) -> Config:
    """Return a configuration in which each job has the keywords of the jobs that it extends."""
    done: Config = {}

    def job(name: str, path: tuple[str, ...]) -> Any:
        if name in done:
            return done[name]
        if name in path or len(path) > _DEEPEST:
            raise PipelineError(
                f"job {path[0]}: `extends` goes round or too deep: {' -> '.join([*path, name])}; shorten it"
            )
        value = config[name]
        if not isinstance(value, dict) or value.get("extends") is None:
            return value
        result: Config = {}
        for base in flat(value["extends"]):
            if not isinstance(base, str) or not isinstance(config.get(base), dict):
                remedy = f"define it{likely(str(base), config)}"
                raise PipelineError(f"job {name}: `extends` names {base}, and no file has such a job; {remedy}")
            result = merged(result, job(base, (*path, name)))
        done[name] = merged(result, {key: item for key, item in value.items() if key != "extends"})
        return done[name]

    return {name: job(name, ()) for name in config}


def resolved(config: Config) -> Config:
    """Return a configuration with values in the place of `!reference`."""

    def value_of(value: Any, owner: str, depth: int) -> Any:
        if isinstance(value, Reference):
            return value_of(_looked_up(config, value, owner), owner, depth + 1)
        if depth > _DEEPEST:
            raise PipelineError(f"job {owner}: `!reference` goes round or deeper than {_DEEPEST}; shorten it")
        if isinstance(value, dict):
            return {key: value_of(item, owner, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [value_of(item, owner, depth) for item in value]
        return value

    return {name: value_of(value, name, 0) for name, value in config.items()}


def _looked_up(config: Config, reference: Reference, owner: str) -> Any:
    value: Any = config
    for key in reference:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        raise PipelineError(
            f"job {owner}: `!reference [{', '.join(reference)}]` finds nothing; name a job and a keyword it has"
        )
    return value


def flat(values: Any) -> list[Any]:
    """Return a list without the lists that `!reference` puts into it; a text alone is a list of one."""
    if not isinstance(values, list):
        return [] if values is None else [values]
    return [item for value in values for item in (flat(value) if isinstance(value, list) else [value])]


def likely(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean x?` for the name that looks most like a wrong one, else an empty text."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean `{close[0]}`?" if close else ""
