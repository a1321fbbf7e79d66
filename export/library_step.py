"""What a library raises on a graph that it cannot take, as one line that says which step failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.errors import MerError

_LONGEST = 300  # ONNX Runtime's messages hold whole types of tensors


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
        raise MerError(f"{what} failed: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """An exception's kind and the first line of its message that says something."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    line = next(filter(None, lines), "")[:_LONGEST]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
