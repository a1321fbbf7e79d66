"""Arrays of one shape that grow: in memory, and in a temporary file where they are many."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from ..errors import AudioError, UnreadableError
from ..temporary import chosen_folder, process_folder

_IN_MEMORY = 64_000_000  # bytes
_MOST = 16_000_000_000  # bytes: 23 hours of the default model in steps of 1 s


class RowsOnDisk:
    """Rows ``[count, ...]`` of numbers in a temporary file, where they would take too much memory.

    ``len`` is their count. A slice reads nothing: it is rows on disk again, of the same file.
    ``numpy.asarray`` reads them. The file is gone with the last of them. It can be pickled once, to another
    process of this machine, which has it from then on.
    """

    def __init__(
        self, file: _TemporaryFile, shape: tuple[int, ...], dtype: np.dtype[Any], start: int = 0
    ) -> None:
        self._file, self._shape, self._dtype, self._start = file, shape, dtype, start

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def nbytes(self) -> int:
        """Of all rows, in the file."""
        return self._dtype.itemsize * int(np.prod(self._shape))

    def __getitem__(self, rows: slice) -> RowsOnDisk:
        start, stop, _ = rows.indices(len(self))
        shape = (max(0, stop - start), *self._shape[1:])
        return RowsOnDisk(self._file, shape, self._dtype, self._start + start)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        row_bytes = self._dtype.itemsize * int(np.prod(self._shape[1:]))
        content = self._file.read(self._start * row_bytes, self.nbytes)
        rows = np.frombuffer(content, self._dtype).reshape(self._shape)
        return rows.astype(dtype or self._dtype, copy=False)


class GrowingRows:
    """Rows that are added one by one."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._bytes = 0
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.float32)
        self._count = 0
        self._file: _TemporaryFile | None = None

    def add(self, row: np.ndarray) -> None:
        """Adds a row of the shape and type of the others.

        Raises:
            AudioError: all rows together are too many.
            UnreadableError: the temporary folder has no room for them, which is not the file's fault.
        """
        self._shape, self._dtype = row.shape, row.dtype
        self._count += 1
        self._parts.append(row)
        self._bytes += row.nbytes
        if self._count * row.nbytes > _MOST:
            raise AudioError(f"gives more than {self._count - 1:,} windows: take longer steps, or cut it up")
        if self._bytes > _IN_MEMORY:
            self._write()

    def all(self) -> np.ndarray | RowsOnDisk:
        """All rows ``[count, ...]``; nothing is added after it.

        Raises:
            UnreadableError: see ``add``.
        """
        if self._file is None:
            return np.stack(self._parts)
        self._write()
        return RowsOnDisk(self._file, (self._count, *self._shape), self._dtype)

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = _TemporaryFile()
            for part in self._parts:
                self._file.write(part)
        except OSError as error:
            megabytes = self._count * self._dtype.itemsize * int(np.prod(self._shape)) / 1e6
            raise UnreadableError(
                f"needs {megabytes:,.0f} MB for its windows in {chosen_folder()} ({error.strerror}): "
                "make room, or take longer steps"
            ) from None
        self._parts, self._bytes = [], 0


class _TemporaryFile:
    """A file that one process at a time has, and that goes with the object."""

    def __init__(self) -> None:
        folder = tempfile.gettempdir()
        if folder == chosen_folder():  # a worker's is in the folder of the process that started it
            folder = process_folder()
        number, self._path = tempfile.mkstemp(prefix="mer-rows-", dir=folder)
        self._file: BinaryIO = os.fdopen(number, "w+b", buffering=0)

    def write(self, row: np.ndarray) -> None:
        content = memoryview(row.tobytes())
        while content:
            content = content[self._file.write(content) :]

    def read(self, offset: int, count: int) -> bytearray:
        content = bytearray(count)
        self._file.seek(offset)
        view = memoryview(content)
        while view:
            read = self._file.readinto(view)  # pyright: ignore[reportAttributeAccessIssue]
            if not read:
                raise OSError(f"{self._path} was cut short")
            view = view[read:]
        return content

    def __getstate__(self) -> str:
        path, self._path = self._path, ""
        return path

    def __setstate__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed with the object)
        with suppress(OSError):  # open, it can be read without its name
            os.unlink(path)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)
