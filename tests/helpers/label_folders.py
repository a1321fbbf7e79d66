"""Folders of labels, made without listening: rows as a run writes them, of files that are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from merkit.engine.catalogue.rows import schema_of_rows
from merkit.engine.catalogue.run_info import KEY, RunInfo
from merkit.engine.catalogue.shard_file import bytes_from_rows
from merkit.engine.spec import QUADRANTS
from merkit.engine.text.escape import text_from_path


def row_of(
    path: Path | str, emotion: str | None = "happy", share: float = 0.7, **columns: Any
) -> dict[str, Any]:
    """The row of a file as it is now. ``share`` is its emotion's; the others have the rest in equal parts."""
    rest = (1 - share) / (len(QUADRANTS) - 1)
    shares = {f"p_{label}": share if label == emotion else rest for label in QUADRANTS} if emotion else {}
    facts: dict[str, Any] = {}
    if os.path.exists(path):
        status = os.stat(path)
        facts = {
            "size_bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "ctime_ns": status.st_ctime_ns,
            "real_path": text_from_path(os.path.realpath(path)),
        }
    return {
        "path": text_from_path(str(path)),
        "status": "ok" if emotion else "error",
        "emotion": emotion,
        "confidence": share if emotion else None,
        "duration_s": 9.6,
        **shares,
        **facts,
        **columns,
    }


def write_labels(
    folder: Path,
    *shards: Sequence[dict[str, Any]],
    labels: tuple[str, ...] = QUADRANTS,
    window_s: float | None = None,
) -> Path:
    """A folder with these rows in each shard. Columns "verdict" and "novelty" are there if a row has one.

    Args:
        window_s: the length of a window; None as in a folder of an older version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    decides = {"model": "tiny", "model_sha256": "0" * 64, "decoder": "auto"}
    info = RunInfo(labels, {}, {**decides, "window_s": window_s} if window_s else decides)
    schema = schema_of_rows(labels).with_metadata({KEY: info.to_json()})
    for name, kind in (("verdict", pa.string()), ("novelty", pa.float32())):
        if any(name in row for rows in shards for row in rows) and name not in schema.names:
            schema = schema.append(pa.field(name, kind))
    for number, rows in enumerate(shards):
        (folder / f"part-{number:06}.parquet").write_bytes(bytes_from_rows(rows, schema))
    return folder
