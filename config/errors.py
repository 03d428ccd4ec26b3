"""Problems of settings: all of them at once, each with its path, its value and the remedy."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from config.redaction import redacted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails


LONGEST_VALUE = 60
"""Characters of a value that a message repeats."""
LONGEST_WORD, LONGEST_PATH, LONGEST_MESSAGE = 256, 160, 2000
"""Characters without a space, of a path and of a message, whoever writes it."""

REMEDIES = {
    "string_type": "write text, in quotes where it could be read as a number",
    "int_type": "write a whole number, without quotes",
    "bool_type": "write true or false, without quotes",
    "tuple_type": "write a list, such as [one, two]",
    "dict_type": "write an object, such as {{key: value}}",
    "model_type": "write an object, such as {{key: value}}",
    "enum": "write one of {expected}",
    "literal_error": "write one of {expected}",
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
    "too_short": "list at least {min_length}",
    "too_long": "list at most {max_length}",
}
"""Remedy by pydantic's kind of error. Pydantic's own messages speak of Python types; people write YAML."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake in a stack file."""

    path: str
    """Dotted path below the project's namespace: `runners.small.memory`."""
    message: str
    """The mistake, with its value, and how to correct it."""

    def __post_init__(self) -> None:
        """Hide secrets and cut long values, so that no check has to think of it."""
        words = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: cut(word[0], LONGEST_VALUE), redacted(self.message))
        object.__setattr__(self, "message", printable(cut(words, LONGEST_MESSAGE)))
        object.__setattr__(self, "path", printable(cut(redacted(self.path), LONGEST_PATH)))

    def __str__(self) -> str:
        """`path: message`."""
        return f"{self.path}: {self.message}"


class SettingsError(Exception):
    """A stack's configuration cannot be used; nothing was touched."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        lines = (f"  - {problem}" for problem in problems)
        super().__init__("\n".join([f"{source} has {count}; nothing was touched:", *lines]))


class FieldError(ValueError):
    """Raised by a validator of one field; its text is the whole message, remedy included."""


def problems_from_pydantic(
    details: Iterable[ErrorDetails],
    prefix: str,
    fields: Mapping[str, Sequence[str]],
    refusals: Mapping[str, str] = MappingProxyType({}),
) -> list[Problem]:
    """Turn pydantic's error details into problems.

    Args:
        details: the result of `ValidationError.errors()`.
        prefix: path of the validated object.
        fields: valid keys by path below the object, for "did you mean".
        refusals: why further keys are not valid here, with the remedy, by path below the object.
    """
    listed = list(details)
    # A list with a wrong entry also counts as too short, since pydantic leaves wrong entries out.
    parents = {detail["loc"][:-1] for detail in listed}
    return [
        _problem(detail, prefix, fields, refusals)
        for detail in listed
        if detail["type"] != "too_short" or detail["loc"] not in parents
    ]


def _problem(
    detail: ErrorDetails, prefix: str, fields: Mapping[str, Sequence[str]], refusals: Mapping[str, str]
) -> Problem:
    location = [str(part) for part in detail["loc"]]
    path = ".".join([prefix, *location])
    kind = detail["type"]
    if kind == "missing":
        return Problem(path=path, message="is missing; add it")
    if kind == "extra_forbidden":
        valid_keys = fields.get(".".join(location[:-1]), ())
        refusal = refusals.get(".".join(location))
        return Problem(path=path, message=refusal or unknown_key(location[-1], valid_keys))
    if kind == "value_error":
        return Problem(path=path, message=str(detail["ctx"]["error"]))
    return Problem(path=path, message=f"{quoted(detail.get('input'))} does not fit: {_remedy(detail)}")


def _remedy(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in REMEDIES:
        return REMEDIES[kind].format(**context)
    text = detail["msg"]
    return text[0].lower() + text[1:]


def unknown_key(key: str, valid_keys: Iterable[str]) -> str:
    """Return a message for an unknown key, with the nearest valid key or the list of all."""
    candidates = sorted(valid_keys)
    nearest = difflib.get_close_matches(key, candidates, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(candidates)}"
    return f"is not a setting; {hint}"


def quoted(value: Any) -> str:
    """Return a value for a message: on one line, without secrets, cut to `LONGEST_VALUE` characters."""
    yaml_words = {None: "null", True: "true", False: "false"}
    text = yaml_words[value] if value is None or isinstance(value, bool) else repr(shown(value))
    return cut(text, LONGEST_VALUE)


def printable(text: str) -> str:
    """Escape what a terminal would act on or cannot show, such as control characters and halves of characters."""
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def cut(text: str, length: int) -> str:
    """Cut a text to a length."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
