"""Generations taking turns on one thread: each makes one step, then the next one does.

The model held here: a few run at once, the others wait in order of arrival. A long answer thus delays a
short one by a share, not by its whole length. Knows nothing of models: a `Turn` is anything with steps.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from lanza.errors import Overloaded, Unavailable


class Turn(Protocol):
    """Work in steps. `step` must not raise: whoever waits for the work is told by other means."""

    def step(self) -> bool:
        """Do a little; true when there is nothing more to do."""
        ...

    def give_up(self) -> None:
        """Called in place of any further step when the thread ends first."""
        ...


class Turns:
    """The thread and its line. At most `running` turns alternate, at most `waiting` stand behind them."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._most_running = running
        self._most_waiting = waiting
        self._running: deque[Turn] = deque()
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="lanza-generate", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def submit(self, turn: Turn) -> None:
        """Overloaded when the line is full, Unavailable when it is closed."""
        with self._changed:
            if self._closing:
                raise Unavailable("the model is being stopped: try again in a moment.")
            if len(self) >= self._most_running + self._most_waiting:
                raise Overloaded(f"{len(self)} answers are being written or wait: try again in a moment.")
            self._waiting.append(turn)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the step that it is in; what is not done is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            if turn.step():
                with self._changed:
                    self._running.remove(turn)
        for left in (*self._running, *self._waiting):
            left.give_up()

    def _next(self) -> Turn | None:
        """The turn whose step it is, now last in the round; None when the thread should end."""
        with self._changed:
            while not (self._running or self._waiting or self._closing):
                self._changed.wait()
            if self._closing:
                return None
            while self._waiting and len(self._running) < self._most_running:
                self._running.append(self._waiting.popleft())
            self._running.rotate(-1)
            return self._running[-1]
