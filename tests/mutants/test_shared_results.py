"""While mutmut collects who calls what, a shared result brings the calls behind it to every test that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.mutants import shared_results

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The calls of the test that mutmut watches."""
    recorded: set[str] = set()
    monkeypatch.setattr(shared_results.state(), "_stats", recorded)
    return recorded


def program(calls: set[str], module: str = __name__) -> Callable[..., str]:
    def mock_run(stack: str) -> str:
        calls.add("mock_run")
        return stack

    mock_run.__module__ = module
    return mock_run


def read_by_two_tests(calls: set[str], read: Callable[[], Any]) -> list[set[str]]:
    """Return the calls of two tests; each calls another function before."""
    seen = []
    for test in ("first", "second"):
        calls.clear()
        calls.add(test)
        assert read() == "dev"
        seen.append(set(calls))
    return seen


@pytest.mark.parametrize(
    "decorate",
    [
        shared_results.repeating_cache(maxsize=None),
        shared_results.repeating_lru_cache(maxsize=4),
        shared_results.repeating_lru_cache,
    ],
    ids=["cache", "lru_cache with a size", "lru_cache"],
)
def test_a_cached_result_repeats_its_calls(decorate: Any, calls: set[str]) -> None:
    run = decorate(program(calls))
    assert run.__name__ == "mock_run"
    assert read_by_two_tests(calls, lambda: run("dev")) == [{"first", "mock_run"}, {"second", "mock_run"}]
    calls.clear()
    run.cache_clear()
    assert run("prod") == "prod"
    assert (calls, run.cache_info().currsize) == ({"mock_run"}, 1)


def test_a_cached_property_repeats_its_calls(calls: set[str]) -> None:
    class Run:
        stack = "dev"
        name = shared_results.RepeatingProperty(lambda self: program(calls)(self.stack))

    run = Run()
    assert read_by_two_tests(calls, lambda: run.name) == [{"first", "mock_run"}, {"second", "mock_run"}]


def test_caches_of_other_modules_stay_as_they_are(calls: set[str]) -> None:
    run = shared_results.repeating_cache(maxsize=None)(program(calls, "pydantic.main"))
    assert read_by_two_tests(calls, lambda: run("dev")) == [{"first", "mock_run"}, {"second"}]
