"""A small engine in process: calls a stand-in, or a real plugin, like `pulumi up`, `refresh` and `destroy`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.providers.stand_in import Diff, Existing, Naming, PartialFailureError, Target
from runner_platform_sandbox.providers.wire import reveal

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform_sandbox.providers.stand_in import StandIn


@dataclass
class State:
    """The state of one resource."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    unready: str = ""
    """Why it failed to initialise; makes the next `up` an update."""


@dataclass
class Driver:
    """Resources of one stack, by logical name."""

    provider: StandIn
    stack: str = "dev"
    states: dict[str, State] = field(default_factory=dict)
    start: Callable[..., Any] | None = None
    """Starts a provider like this one with another configuration."""

    def target(self, token: str, name: str, **more: Any) -> Target:
        state = self.states.get(name)
        urn = f"urn:pulumi:{self.stack}::test::{token}::{name}"
        return Target(urn=urn, token=token, name=name, id=state.id if state else "", **more)

    def check(self, token: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
        state = self.states.get(name)
        naming = Naming(seed=f"{self.stack}/{name}".encode())
        return self.provider.check(self.target(token, name), properties, state.inputs if state else {}, naming)

    def preview(self, token: str, name: str, properties: dict[str, Any]) -> tuple[Diff | None, dict[str, Any]]:
        """Return (difference, outputs) of a preview; the difference is None for a creation.

        As in the engine, a replacement is previewed as a creation while the old object still exists.
        """
        news, state = self.check(token, name, properties), self.states.get(name)
        target = self.target(token, name, preview=True)
        if state is None:
            return None, self.provider.create(target, news)[1]
        diff = self.provider.diff(target, state.outputs, state.inputs, news, [])
        if diff.replaces:
            return diff, self.provider.create(replace(target, id=""), news)[1]
        return diff, self.provider.update(target, state.outputs, state.inputs, news) if diff.changes else state.outputs

    def up(self, token: str, name: str, properties: dict[str, Any], timeout: float = 60) -> Diff | None:
        """Create, update or replace, and return the difference, or None for a creation."""
        news, state = self.check(token, name, properties), self.states.get(name)
        target = self.target(token, name, timeout=timeout)
        if state is None:
            self._create(target, name, news)
            return None
        diff = self.provider.diff(target, state.outputs, state.inputs, news, [])
        if diff.replaces:
            self.destroy(token, name)
            self._create(self.target(token, name, timeout=timeout), name, news)
        elif diff.changes or state.unready:
            try:
                outputs = self.provider.update(target, state.outputs, state.inputs, news)
            except PartialFailureError as error:
                self._keep(name, error)
                raise
            self.states[name] = State(state.id, news, self._kept(outputs))
        return diff

    def _create(self, target: Target, name: str, news: dict[str, Any]) -> None:
        try:
            identifier, outputs = self.provider.create(target, news)
        except PartialFailureError as error:
            self._keep(name, error)
            raise
        self.states[name] = State(identifier, news, self._kept(outputs))

    def _keep(self, name: str, error: PartialFailureError) -> None:
        self.states[name] = State(
            error.identifier, self._kept(error.inputs), self._kept(error.outputs), unready=str(error)
        )

    def refresh(self, token: str, name: str) -> Existing | None:
        """Read, and compare with what the program last said, as the engine does to show the drift."""
        state = self.states[name]
        try:
            existing = self.provider.read(self.target(token, name), state.inputs, state.outputs)
        except PartialFailureError as error:
            self._keep(name, error)
            existing = Existing(id=error.identifier, inputs=error.inputs, outputs=error.outputs)
        else:
            if existing is None:
                del self.states[name]
                return None
            self.states[name] = State(existing.id, self._kept(existing.inputs), self._kept(existing.outputs))
        if state.inputs:
            now = self.states[name]
            self.provider.diff(self.target(token, name), now.outputs, now.inputs, state.inputs, [])
        return existing

    def _kept(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Return what the provider gets back later: the engine shows secrets as such to those that accept them."""
        revealed: dict[str, Any] = properties if self.provider.accept_secrets else reveal(properties)
        return revealed

    def import_(self, token: str, name: str, identifier: str) -> Existing | None:
        self.states[name] = State(identifier, {}, {})
        return self.refresh(token, name)

    def destroy(self, token: str, name: str, timeout: float = 60) -> None:
        state = self.states[name]
        self.provider.delete(self.target(token, name, timeout=timeout), state.outputs, state.inputs)
        del self.states[name]
