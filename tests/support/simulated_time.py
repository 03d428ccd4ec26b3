"""Simulated time: events in order, and programs that sleep in it. Nothing waits for real, and one seed always gives one history."""

from __future__ import annotations

import heapq
import random
import threading
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ProgramEndError(BaseException):
    """Ends a program whose machine is gone."""


class World:
    """A clock, its events, and one source of chance."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)  # noqa: S311  # a history that can be repeated
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), act))

    def every(self, seconds: float, act: Callable[[], bool | None]) -> None:
        """Do something again and again, until it returns False."""

        def again() -> None:
            if act() is not False:
                self.after(seconds, again)

        self.after(seconds, again)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = end


class Program:
    """A real function that runs in simulated time, in a thread that works only while the world waits for it."""

    def __init__(self, world: World, main: Callable[[], None]) -> None:
        self._world, self._main = world, main
        self._go, self._pause = threading.Semaphore(0), threading.Semaphore(0)
        self.ended = self._killed = False
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        world.after(0, self._resume)

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._main()
        except ProgramEndError:
            pass
        except BaseException as error:  # noqa: BLE001  # the test raises it
            self.error = error
        self.ended = True
        self._pause.release()

    def _resume(self) -> None:
        if not self.ended:
            self._go.release()
            self._pause.acquire()
            if self.error is not None:
                raise self.error

    def sleep(self, seconds: float) -> None:
        """Sleep; called by the program itself."""
        self._world.after(seconds, self._resume)
        self._pause.release()
        self._go.acquire()
        if self._killed:
            raise ProgramEndError

    def kill(self) -> None:
        """End the program at its next sleep, as the loss of its machine does."""
        self._killed = True
