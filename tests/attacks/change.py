"""Changes of the running program: another result of a function, other inputs of a resource, or an additional resource.

Each function here returns a `Change`: calling it gives a context manager, so the catalogue can list a mutation without applying it. The
pack evaluates in its own process, which no change reaches.
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

    Arguments = Mapping[str, Any]
    Edit = Callable[[Any], Any]
    Change = Callable[[], AbstractContextManager[None]]

GONE: Any = object()
"""Marks a key to remove."""


def with_result(function: Any, edit: Edit, when: Callable[[Arguments], bool] = lambda _: True) -> Change:
    """Change the result of a function in every module of the program that imported it.

    Args:
        function: the function.
        edit: takes a copy of the result and returns the changed result.
        when: takes the arguments of a call; returns True to change the result of this call.
    """

    @functools.wraps(function)
    def changed(*args: Any, **kwargs: Any) -> Any:
        call = inspect.signature(function).bind(*args, **kwargs)
        call.apply_defaults()
        result = function(*args, **kwargs)
        return edit(_copied(result)) if when(call.arguments) else result

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
            assert places, f"no module of the program uses {function.__qualname__}"
            for module, name in places:
                patches.enter_context(mock.patch.object(module, name, changed))
            yield

    return applied


def _copied(value: Any) -> Any:
    """Copy a document; keep outputs of the engine, which are not part of it, as they are."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def with_inputs(resource: Any, named: str = "", /, **inputs: Any) -> Change:
    """Change inputs of resources of one SDK class.

    Args:
        resource: the class of the SDK.
        named: logical name of the resource to change; empty for all.
        inputs: values, or functions of the program's value; GONE removes an input.
    """
    original = resource.__init__

    def changed(self: Any, logical: str, /, *args: Any, **kwargs: Any) -> None:
        if named in {"", logical}:
            edited = {key: value(kwargs.get(key)) if callable(value) else value for key, value in inputs.items()}
            kwargs = {key: value for key, value in {**kwargs, **edited}.items() if value is not GONE}
        original(self, logical, *args, **kwargs)

    return lambda: _with_constructor(resource, changed)


def with_addition(component: Any, make: Callable[[Any, Any], object], named: str = "") -> Change:
    """Make an additional resource in a component.

    Args:
        component: the component's class.
        make: takes the component and its Args.
        named: logical name of the resource to change; empty for all.
    """
    original = component.__init__

    def changed(self: Any, name: str, args: Any, opts: Any = None) -> None:
        original(self, name, args, opts)
        if named in {"", name}:
            make(self, args)

    return lambda: _with_constructor(component, changed)


@contextmanager
def _with_constructor(resource: Any, constructor: Callable[..., None]) -> Iterator[None]:
    with mock.patch.object(resource, "__init__", constructor):
        yield


def together(*changes: Change) -> Change:
    """Combine several changes into one."""

    @contextmanager
    def applied() -> Iterator[None]:
        with ExitStack() as patches:
            for change in changes:
                patches.enter_context(change())
            yield

    return applied


@contextmanager
def nothing() -> Iterator[None]:
    """Change nothing in the program, for a mutation of settings or of the pack."""
    yield


def put(value: Any, *path: str | int) -> Edit:
    """Return an edit that sets the value at a path, or removes it with GONE."""

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
    """Return an edit that changes the first statement of a policy document; GONE removes an element."""

    def edit(document: Any) -> Any:
        for key, value in changes.items():
            put(value, "Statement", 0, key)(document)
        return document

    return edit


def adding_statement(elements: Mapping[str, Any]) -> Edit:
    """Return an edit that adds a statement to a policy document."""
    return lambda document: {**document, "Statement": [*document["Statement"], {"Effect": "Allow", **elements}]}
