"""Errors that a user can cause and fix. Commands print each as one line and end with its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MerError(Exception):
    """Base class. The message says what is wrong and what to do; ``exit_code`` is that of the command."""

    exit_code = 1


class UsageError(MerError):
    """A wrong argument: an unknown name, or options that contradict each other."""

    exit_code = 2


class SpecError(MerError):
    """A spec with fields that are missing, unknown, out of range, or of a newer version."""


class AudioError(MerError):
    """A file that gives no usable audio; the message is the reason in that file's row."""


class SilentError(AudioError):
    """A file that was read and holds nothing but silence."""


class NothingHeardError(AudioError):
    """A file that a decoder took, and of which it could decode nothing."""


class UnreadableError(AudioError):
    """A file that is not there or cannot be read now: what it holds is not known, another day it may be."""


class ArtifactError(MerError):
    """A model file that is missing, unsafe, or not made by merkit."""


class DeviceError(MerError):
    """A GPU, driver, package or engine is missing or does not fit; the message says which."""


class DaliMissingError(DeviceError):
    """NVIDIA DALI is not installed, or cannot be loaded."""


class DeviceMemoryError(DeviceError):
    """The GPU has too little memory for the work."""


class EngineLoadError(DeviceError):
    """TensorRT does not load an engine that fits this machine by all that is known of both."""


@contextmanager
def os_errors_say(what: str) -> Iterator[None]:
    """Within the block an OSError becomes a MerError: ``what``, a colon, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise MerError(f"{what}: {error.strerror or error}") from None
