"""Inputs of a file: `spec: inputs` and `$[[ inputs.name ]]`. https://docs.gitlab.com/ci/inputs/."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.ci import document, schema
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.variables import expand

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK: Final = re.compile(r"\$\[\[\s*(?P<text>\S(?:(?!\]\]).)*?)\s*\]\]")
_TRUNCATE: Final = re.compile(r"truncate\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "array": list,
}
_KEYWORDS: Final = ("type", "default", "description", "options", "regex")
_MOST_FUNCTIONS: Final = 3


def configuration(text: str, passed: Mapping[str, Any], values: Mapping[str, str], file: str) -> document.Config:
    """Read a file and put inputs in their places.

    Args:
        text: Text of the file, with or without a header.
        passed: Inputs of the `include`, or of the pipeline.
        values: Variables for `expand_vars`.
        file: Name of the file, for messages.

    Raises:
        PipelineError: An input is missing, unknown, or of another type than the header says.
    """
    header, body = document.parts(text)
    declared = _declared(header, file)
    unknown = set(passed) - set(declared)
    if unknown:
        name = min(unknown)
        raise PipelineError(
            f"{file}: `inputs` has {name}, which `spec: inputs` does not declare; remove it{document.likely(name, declared)}"
        )
    inputs = {name: _value(name, declared[name], passed, file) for name in declared}
    config = document.parse(body, file)
    return config if header is None else _Interpolation(inputs, values, file).replaced(config)


def _declared(header: str | None, file: str) -> dict[str, Mapping[str, Any]]:
    """Return the declaration of each input, checked."""
    spec = document.parse(header or "", file).get("spec") or {}
    lacking = "is not known to the sandbox's GitLab"
    for keyword in set(spec) - {"inputs", "description"} if isinstance(spec, dict) else ():
        raise PipelineError(f"{file}: `spec: {keyword}` {lacking}; remove it or run this pipeline in GitLab")
    inputs = spec.get("inputs") if isinstance(spec, dict) else None
    for name, declared in inputs.items() if isinstance(inputs, dict) else ():
        for keyword in set(declared) - set(_KEYWORDS) if isinstance(declared, dict) else ():
            hint = document.likely(keyword, _KEYWORDS)
            raise PipelineError(
                f"{file}: input {name}: `{keyword}` {lacking}{hint}; remove it or run this pipeline in GitLab"
            )
    schema.check_spec(spec, file)
    return {name: declared or {} for name, declared in (inputs or {}).items()}


def _value(name: str, declared: Mapping[str, Any], passed: Mapping[str, Any], file: str) -> Any:
    where = f"{file}: input {name}"
    if name not in passed and "default" not in declared:
        raise PipelineError(f"{where}: it has no value and no default; give it below `inputs`")
    value = passed.get(name, declared.get("default"))
    kind = declared.get("type", "string")
    if not isinstance(value, _TYPES[kind]) or (kind == "number" and isinstance(value, bool)):
        raise PipelineError(f"{where}: {value!r} is no {kind}; {'quote it' if kind == 'string' else f'give a {kind}'}")
    if "options" in declared and value not in declared["options"]:
        raise PipelineError(
            f"{where}: {value!r} is no option; choose one of {', '.join(map(str, declared['options']))}"
        )
    if "regex" in declared and not _pattern(declared["regex"], where).search(str(value)):
        raise PipelineError(f"{where}: {value!r} does not match {declared['regex']}; give a value that matches")
    return value


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise PipelineError(f"{where}: `regex: {text}` is no regular expression ({error}); correct it") from None


@dataclass(frozen=True)
class _Interpolation:
    """Puts inputs into a configuration, key by key and text by text, as lib/gitlab/ci/config/interpolation/template.rb of GitLab does."""

    inputs: Mapping[str, Any]
    values: Mapping[str, str]
    file: str

    def replaced(self, node: Any) -> Any:
        """Return a node with inputs in their places. A text that is one block gets the input with its type."""
        if isinstance(node, dict):
            return {self.replaced(key): self.replaced(value) for key, value in node.items()}
        if isinstance(node, list) and not isinstance(node, document.Reference):
            return [self.replaced(item) for item in node]
        if not isinstance(node, str):
            return node
        whole = _BLOCK.fullmatch(node)
        return self._value(whole["text"]) if whole else _BLOCK.sub(lambda block: self._text(block["text"]), node)

    def _text(self, block: str) -> str:
        value = self._value(block)
        return value if isinstance(value, str) else json.dumps(value)

    def _value(self, block: str) -> Any:
        access, *functions = (part.strip() for part in block.split("|"))
        context, _, name = access.partition(".")
        where = f"{self.file}: `$[[ {block} ]]`"
        if context != "inputs" or name not in self.inputs:
            raise PipelineError(
                f"{where} names no input{document.likely(name, self.inputs)}; declare it below `spec: inputs`"
            )
        if len(functions) > _MOST_FUNCTIONS:
            raise PipelineError(f"{where} has more than {_MOST_FUNCTIONS} functions; use fewer")
        value = self.inputs[name]
        for function in functions:
            value = _applied(function, value, self.values, where)
        return value


def _applied(function: str, value: Any, values: Mapping[str, str], where: str) -> str:
    if not isinstance(value, str):
        raise PipelineError(f"{where}: `{function}` takes a string, not {value!r}; remove the function")
    if function == "expand_vars":
        return expand(value, values)
    truncated = _TRUNCATE.fullmatch(function)
    if truncated is None:
        raise PipelineError(
            f"{where}: `{function}` is not known to the sandbox's GitLab; it knows expand_vars and truncate(start, length)"
        )
    start, length = int(truncated[1]), int(truncated[2])
    return value[start : start + length]
