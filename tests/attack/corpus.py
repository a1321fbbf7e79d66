"""The healthy files that the attack damages; all are made here, none is kept."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tag_bytes
from audio_files import chirp
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx_files import tiny_onnx
from small_networks import small_network
from sound_formats import FORMATS

_SECONDS = 1.5

Seed = tuple[str, bytes]
"""A suffix, and the file's bytes."""


def audio_seeds() -> Iterator[Seed]:
    """A file of every format that is read, and files that are little but tags."""
    with tempfile.TemporaryDirectory() as folder:
        for sound_format in FORMATS:
            rate, channels = sound_format.tried[0]
            sound = np.repeat(chirp(_SECONDS, rate)[:, None], channels, axis=1)
            path = Path(folder) / f"seed{sound_format.suffix}"
            sound_format.write(path, sound.astype(np.float32), rate)
            yield sound_format.suffix, path.read_bytes()
            if sound_format.suffix == ".mp3":
                for version in (2, 3, 4):
                    yield ".mp3", tag_bytes.whole_id3(version) + path.read_bytes()


def model_seeds() -> Iterator[Seed]:
    """Networks with a spec."""
    spec = ModelSpec("tiny", QUADRANTS, AudioSpec(window_samples=16_000, frames=32, n_mels=32))
    yield ".onnx", tiny_onnx(spec).SerializeToString()
    yield ".onnx", small_network().SerializeToString()


def list_seeds(song: str) -> Iterator[Seed]:
    """Tables and playlists that name ``song``."""
    yield ".m3u8", f"#EXTM3U\n#EXTINF:1,Artist - Titel\n{song}\nmissing.mp3\n".encode()
    yield ".m3u", f"{song}\r\n{song}\r\n".encode("latin-1", "replace")
    text = io.StringIO()
    csv.writer(text).writerows([["path", "title", "error"], [song, "=1+1", "x\ry"], ["missing.ogg", "", ""]])
    yield ".csv", text.getvalue().encode()
    yield ".csv", b"\xef\xbb\xbfpath;emotion\n" + song.encode() + b";sad\n"
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"path": [song, "missing.wav"], "year": [1955, 1972]}), sink)
    yield ".parquet", sink.getvalue().to_pybytes()


def labelled_csv_seeds(songs: list[str]) -> Iterator[Seed]:
    """What ``mer-train --data`` takes: clips with labels and groups."""
    rows = [
        "path,label,group",
        *(f"{song},{'happy' if i % 2 else 'sad'},g{i}" for i, song in enumerate(songs)),
    ]
    yield ".csv", "\n".join(rows).encode()
    yield ".csv", "\r\n".join(rows).replace(",", ";").encode("utf-16")


def results_seeds() -> Iterator[Seed]:
    """What ``mer-bench report`` takes."""
    from bench_results import results_values

    yield ".json", json.dumps(results_values()).encode()
