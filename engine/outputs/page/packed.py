"""Columns of numbers and texts as one compressed block, which the page's script unpacks."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_KINDS = {"uint8": "u8", "uint16": "u16", "uint32": "u32"}
_ALIGNED = 4  # bytes: a view of 32 bit numbers must begin at a multiple of that

Column = npt.NDArray[Any] | Sequence[str]


def packed(about: Mapping[str, Any], columns: Mapping[str, Column]) -> str:
    """Base64 of zlib of: the length of a head (uint32, little-endian), the head (JSON), the columns.

    The head has ``about``, and of each column its name, its kind ("u8", "u16", "u32", little-endian, or
    "text") and its bytes. Texts are UTF-8 with ``\\n`` between them: they hold none. Everything begins at a
    multiple of 4 bytes.
    """
    parts, facts = [], []
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            kind, content = _KINDS[column.dtype.name], column.astype(column.dtype.newbyteorder("<")).tobytes()
        else:
            kind, content = "text", "\n".join(column).encode()
        facts.append({"name": name, "kind": kind, "bytes": len(content)})
        parts.append(content + bytes(-len(content) % _ALIGNED))
    head = json.dumps({"about": about, "columns": facts}).encode()
    head += b" " * (-len(head) % _ALIGNED)
    return base64.b64encode(zlib.compress(b"".join([len(head).to_bytes(4, "little"), head, *parts]))).decode()
