"""Ways to change the program while it runs: what a function answers, what a resource is given, what is made besides, what settings mean.

Each returns a function that makes a context manager, so that a mutation can be written down without being applied. The pack judges in a
process of its own, where nothing is changed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    Given = Mapping[str, Any]
    Edit = Callable[[Any], Any]
    Change = Callable[[], AbstractContextManager[None]]

GONE: Any = object()
"""Stands for a key that is to be removed."""


def answers(function: Any, edit: Edit, when: Callable[[Given], bool] = lambda _: True) -> Change:
    """Another answer of a function of the program, wherever the program imported it.

    Args:
        function: the function.
        edit: gets a copy of the answer, and returns it changed.
        when: whether this call is meant, by its arguments.
    """

    @functools.wraps(function)
    def changed(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(function).bind(*args, **kwargs)
        given.apply_defaults()
        answer = function(*args, **kwargs)
        return edit(_copied(answer)) if when(given.arguments) else answer

    @contextmanager
    def applied() -> Iterator[None]:
        with ExitStack() as patches:
            places = [
                (module, name)
                for module in list(sys.modules.values())
                if module.__name__.startswith("components.")
                for name, value in vars(module).items()
                if value is function
            ]
            assert places, f"nothing of the program uses {function.__qualname__}"
            for module, name in places:
                patches.enter_context(mock.patch.object(module, name, changed))
            yield

    return applied


def _copied(value: Any) -> Any:
    """A copy of a document; what the engine fills in later is no document, and stays."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def given(resource: Any, named: str = "", /, **inputs: Any) -> Change:
    """Other inputs for resources of a class.

    Args:
        resource: the class of the SDK.
        named: logical name of the one that is meant; empty for all.
        inputs: values, or functions of what the program gives; GONE leaves an input out.
    """
    original = resource.__init__

    def changed(self: Any, logical: str, /, *args: Any, **kwargs: Any) -> None:
        if named in {"", logical}:
            edited = {key: value(kwargs.get(key)) if callable(value) else value for key, value in inputs.items()}
            kwargs = {key: value for key, value in {**kwargs, **edited}.items() if value is not GONE}
        original(self, logical, *args, **kwargs)

    return lambda: _instead(resource, changed)


def besides(component: Any, make: Callable[[Any, Any], object], named: str = "") -> Change:
    """Something that a component makes besides.

    Args:
        component: the component's class.
        make: gets the component and its Args.
        named: logical name of the one that is meant; empty for all.
    """
    original = component.__init__

    def changed(self: Any, name: str, args: Any, opts: Any = None) -> None:
        original(self, name, args, opts)
        if named in {"", name}:
            make(self, args)

    return lambda: _instead(component, changed)


@contextmanager
def _instead(made: Any, constructor: Callable[..., None]) -> Iterator[None]:
    with mock.patch.object(made, "__init__", constructor):
        yield


def together(*changes: Change) -> Change:
    """Several changes that make one mutation."""

    @contextmanager
    def applied() -> Iterator[None]:
        with ExitStack() as patches:
            for change in changes:
                patches.enter_context(change())
            yield

    return applied


@contextmanager
def nothing() -> Iterator[None]:
    """No change of the program: the mutation is one of settings, or of the gate."""
    yield


def put(value: Any, *path: str | int) -> Edit:
    """An edit that sets, or with GONE removes, what stands at a path."""

    def edit(document: Any) -> Any:
        container = document
        for key in path[:-1]:
            container = container.setdefault(key, {}) if isinstance(container, dict) else container[key]
        if value is GONE:
            del container[path[-1]]
        else:
            container[path[-1]] = value(container[path[-1]]) if callable(value) else _copied(value)
        return document

    return edit


def statement(**changes: Any) -> Edit:
    """An edit that changes the first statement of a policy document; GONE removes an element."""

    def edit(document: Any) -> Any:
        for key, value in changes.items():
            put(value, "Statement", 0, key)(document)
        return document

    return edit


def one_more(another: Mapping[str, Any]) -> Edit:
    """An edit that adds a statement to a policy document."""
    return lambda document: {**document, "Statement": [*document["Statement"], {"Effect": "Allow", **another}]}
