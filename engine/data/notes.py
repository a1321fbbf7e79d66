"""What was read otherwise than it stands: one line a kind, however many files it concerns."""

from __future__ import annotations

from ..text.escape import for_terminal


class Notes:
    """Collects names under what is said of them, in the order in which that first happens."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, what: str, name: str) -> None:
        """Adds one thing; ``what`` is said once for all things of its kind."""
        self._names.setdefault(what, []).append(name)

    def lines(self) -> tuple[str, ...]:
        """A line for each kind, with the first name and how many there are; safe to print."""
        return tuple(
            for_terminal(
                f"{what}: {names[0]}" if len(names) == 1 else f"{what}: {len(names)}, the first {names[0]}"
            )
            for what, names in self._names.items()
        )
