"""How far a run is: planned work weighted by cost, as a percentage that never falls."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Final, Protocol, TextIO

_BEFORE: Final = 3.0  # percent when the panel is ready and models begin
_AFTER: Final = 96.0  # percent when the last model is done and scoring begins
_LINE_EVERY_S: Final = 5.0


class Sink(Protocol):
    """Where progress goes. A sink never raises: progress is not worth a run."""

    def report(self, percent: float, step: str) -> None:
        """Show or keep the newest state; called often, so it is the sink that limits its writes."""
        ...


class Meter:
    """Turns finished work into a percentage and tells a sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._percent = 0.0
        self._done = 0.0
        self._total = 0.0

    def plan(self, costs: Iterable[float]) -> None:
        """Add to the work ahead, in any unit; negative costs take away from it."""
        self._total += sum(costs)

    def done(self, cost: float, step: str) -> None:
        """Count a piece of planned work as finished."""
        self._done += cost
        share = min(self._done / self._total, 1.0) if self._total > 0 else 1.0
        self.at(_BEFORE + (_AFTER - _BEFORE) * share, step)

    def say(self, step: str) -> None:
        """Name what happens now, without having come further."""
        self.at(self._percent, step)

    def at(self, percent: float, step: str) -> None:
        """Report a percentage, or the highest one so far."""
        self._percent = max(self._percent, min(percent, 100.0))
        self._sink.report(self._percent, step)


class ConsoleSink:
    """Progress on a terminal: one line rewritten in place, or elsewhere a plain line for each step every few seconds.

    For each, because two steps that are worked on at once would otherwise take turns with a line each time.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._width = 0
        self._said_at: dict[str, float] = {}

    def report(self, percent: float, step: str) -> None:
        line = f"{percent:3.0f} %  {step}"
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
            if percent >= 100:
                self._stream.write("\n")
        else:
            now = time.monotonic()
            what = step.partition(" (")[0]
            if now - self._said_at.get(what, -_LINE_EVERY_S) < _LINE_EVERY_S:
                return
            self._said_at[what] = now
            self._stream.write(line + "\n")
        self._stream.flush()
