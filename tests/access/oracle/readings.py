"""Points on which AWS's documentation can be read in two ways, and how a verdict is found in spite of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Result = TypeVar("Result")


class Readings:
    """Answers yes or no to each doubtful point, and remembers which points came up."""

    def __init__(self, choices: Mapping[str, bool]) -> None:
        self.choices = choices
        self.undecided: list[str] = []

    def __call__(self, statement: str) -> bool:
        """Return whether the statement holds in this reading; a new one holds not, and is noted for later."""
        if statement not in self.choices and statement not in self.undecided:
            self.undecided.append(statement)
        return self.choices.get(statement, False)


def under_all_readings(decide: Callable[[Readings], Result]) -> dict[Result, dict[str, bool]]:
    """Return every result that some reading leads to, with the choices that lead there."""
    results: dict[Result, dict[str, bool]] = {}
    waiting: list[dict[str, bool]] = [{}]
    while waiting:
        choices = waiting.pop()
        readings = Readings(choices)
        result = decide(readings)
        if readings.undecided:
            statement = readings.undecided[0]
            waiting += [{**choices, statement: True}, {**choices, statement: False}]
        else:
            results.setdefault(result, choices)
    return results
