"""Validators that several kinds of settings share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import AfterValidator

from config.errors import FieldError, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Allowed:
    """What a setting may hold, for `docs/reference/settings.md`. It stands beside the validator in an annotation."""

    limits: str
    """In words, with examples in backquotes."""
    type: str = "text"
    """Word for the kind of value."""


def pattern(regex: str, remedy: str) -> AfterValidator:
    """Return a validator of text: the text must match as a whole, else the error shows the value and the remedy."""
    compiled = re.compile(regex, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise FieldError(f"{quoted(value)} {remedy}")
        return value

    return AfterValidator(check)


def url_pattern(regex: str, remedy: str) -> AfterValidator:
    """Return a validator of an address, as `pattern`; an address with a user or a password is refused and not repeated."""
    plain = pattern(regex, remedy).func

    def check(value: str) -> str:
        if "@" in value:
            raise FieldError(
                "has a user or a password before an @, and stack files are no place for secrets; write the address alone"
            )
        return str(plain(value))  # type: ignore[call-arg]  # pydantic's type also admits a second argument

    return AfterValidator(check)


def refuse_repeated(values: Sequence[str]) -> None:
    """Refuse a list that names one thing twice.

    Raises:
        FieldError: with the value.
    """
    repeated = next((value for index, value in enumerate(values) if value in values[:index]), None)
    if repeated is not None:
        raise FieldError(f"lists {quoted(repeated)} twice; list it once")
