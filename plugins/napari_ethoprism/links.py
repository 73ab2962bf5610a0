"""Links: connections to signals that end together; no Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Links:
    """Connections to a session's signals, which end when whoever listens is closed."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []
        self._last: list[Callable[[], Any]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a psygnal signal; its arguments are not passed on unless the slot takes them."""
        signal.connect(slot)
        self._made.append((signal, slot))

    def at_end(self, function: Callable[[], Any]) -> None:
        """Call a function when the connections end."""
        self._last.append(function)

    def cut(self) -> None:
        """End the connections; a second time does nothing."""
        while self._made:
            signal, slot = self._made.pop()
            signal.disconnect(slot, missing_ok=True)
        while self._last:
            self._last.pop()()
