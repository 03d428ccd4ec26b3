"""A plugin of pytest for the run of mutants: a result that tests share reaches every test that uses it.

mutmut runs a mutant with the tests that called its function. If a cached result spares a test the call, the test would not count, although its
answer depends on the function. While mutmut collects who calls what, caches of the tests and of the pack's view of a stack repeat the calls
behind a result for every test that reads it. The small caches of patterns and actions stay as they are: they are read a million times, and
their functions have tests of their own.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from mutmut.state import state

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = ("tests.", "policies.stack", "components.documents.node_pool")
"""Beginnings of the names of modules whose caches hold results of whole programs."""
COLLECTING = "stats"
"""The value of MUTANT_UNDER_TEST while mutmut collects who calls what."""
ORIGINAL_PROPERTY = functools.cached_property


def is_shared(function: Callable[..., Any]) -> bool:
    """Whether tests share the results of a function."""
    return function.__module__.startswith(MODULES)


def repeating(calls: set[str], compute: Callable[[], Any]) -> Any:
    """Return a result; add the calls behind it to `calls`, and all of them to the calls of the test."""
    calls_of_test = state()._stats
    before = set(calls_of_test)
    calls_of_test.clear()
    try:
        return compute()
    finally:
        calls |= calls_of_test
        calls_of_test |= before | calls


def repeating_cache(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator like `functools.lru_cache` that repeats the calls behind a result."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        cached = functools._lru_cache_wrapper(function, options.get("maxsize", 128), False, functools._CacheInfo)
        if not is_shared(function):
            return functools.update_wrapper(cached, function)
        calls_by_arguments: dict[Any, set[str]] = {}

        def repeated(*args: Any, **kwargs: Any) -> Any:
            calls = calls_by_arguments.setdefault((args, *sorted(kwargs.items())), set())
            return repeating(calls, lambda: cached(*args, **kwargs))

        repeated.cache_clear, repeated.cache_info = cached.cache_clear, cached.cache_info
        return functools.update_wrapper(repeated, function)

    return decorate


class RepeatingProperty(ORIGINAL_PROPERTY):
    """A cached property that repeats the calls behind its value."""

    def __new__(cls, function: Callable[[Any], Any]) -> Any:
        return super().__new__(cls) if is_shared(function) else ORIGINAL_PROPERTY(function)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        calls = instance.__dict__.setdefault(f"calls behind {self.attrname}", set())
        return repeating(calls, lambda: ORIGINAL_PROPERTY.__get__(self, instance, owner))

    def __set__(self, instance: Any, value: Any) -> None:
        """Set the value; a descriptor that can do so is asked before the instance's own attributes."""
        instance.__dict__[self.attrname] = value


def repeating_lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Stand in for `functools.lru_cache`, with and without parentheses."""
    if callable(maxsize):
        return repeating_cache()(maxsize)
    return repeating_cache(maxsize=maxsize, typed=typed)


if os.environ.get("MUTANT_UNDER_TEST") == COLLECTING:
    functools.cache = repeating_cache(maxsize=None)
    functools.lru_cache = repeating_lru_cache
    functools.cached_property = RepeatingProperty
