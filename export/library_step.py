"""What a library raises on a graph that it cannot take, as one line that says which step failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.errors import MerError
from ..engine.runtimes.answers import one_line


@contextmanager
def library_step(what: str) -> Iterator[None]:
    """Runs a library's own code on a user's graph: what it raises becomes a MerError.

    Only for calls into libraries whose exceptions have no narrower base class; our own bugs must keep their
    traceback.

    Args:
        what: the step, as the subject of the message ("the conversion to FP16").

    Raises:
        MerError: the step failed; the library's exception is its cause.
    """
    try:
        yield
    except MerError:
        raise
    except Exception as error:
        raise MerError(f"{what} failed: {kind_and_message(error)}") from error


def kind_and_message(error: Exception) -> str:
    """An exception's kind and what it says, in one line that is not too long."""
    kind, text = type(error).__name__, one_line(error)
    return kind if text == kind else f"{kind}: {text}"
