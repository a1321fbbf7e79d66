"""libsndfile's handle of an open file, or of a file object, through soundfile."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

import soundfile

from ..signals import pass_on_from_handler

_FFI: Any = getattr(soundfile, "_ffi")  # noqa: B009


class SoundHandle(soundfile.SoundFile):
    """An open file. If soundfile knew that it can seek, it would do so after every read.

    libsndfile calls back for the bytes of a file object. What a signal's handler raises there (Ctrl-C, a time
    limit) is raised after libsndfile's call: cffi would only print it, and wrong sound would follow.

    Args:
        file: a descriptor, closed with the handle, or a file object, which stays open.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open it, or, of a call, the sound is damaged.
    """

    def __init__(self, file: int | io.RawIOBase | io.BytesIO) -> None:
        self._raised: list[BaseException] = []
        self._call(super().__init__, file, closefd=True)

    @property
    def can_seek(self) -> bool:
        return super().seekable()

    def seekable(self) -> bool:
        return False

    def read(self, *arguments: Any, **options: Any) -> Any:
        return self._call(super().read, *arguments, **options)

    def seek(self, frames: int, whence: int = os.SEEK_SET) -> int:
        return self._call(super().seek, frames, whence)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        finally:
            raised = self._raised[:]
            self._raised.clear()
            while raised:
                if not isinstance(raised[0], OSError):
                    raise raised.pop(0)  # by no name: its traceback would keep the file alive
                # Else a read failed: for libsndfile the file ends there.
                pass_on_from_handler(raised.pop(0))

    def _init_virtual_io(self, file: io.RawIOBase | io.BytesIO) -> Any:
        """In the place of soundfile's own, of which no error comes back."""
        raised, size = self._raised, file.seek(0, os.SEEK_END)
        file.seek(0)
        functions = {
            "get_filelen": lambda _: size,
            "seek": lambda offset, whence, _: file.seek(offset, whence),
            "read": lambda place, count, _: file.readinto(_FFI.buffer(place, count)),
            "tell": lambda _: file.tell(),
            "write": lambda *_: 0,
        }

        def keep(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            raised.append(error.with_traceback(trace))

        self._virtual_io = {  # libsndfile does not keep them alive
            name: _FFI.callback(f"sf_vio_{name}", function, onerror=keep)
            for name, function in functions.items()
        }
        return _FFI.new("SF_VIRTUAL_IO*", self._virtual_io)
