"""Which runtime labels on this machine: what tables of earlier measurements say. Nothing is measured here.

A table has a row for each network and kind of CPU that was measured (``mer-bench tune``): the runtimes that
label a catalogue with less CPU than ONNX Runtime in FP32 and change no more than one label in a hundred. One
table is shipped, another may stand in the user's own folder and goes before it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..artifact import Artifact, models_home
from ..cpu import cpu_features
from ..errors import MerError
from ..strict_json import LONGEST, json_from_text

DEFAULT = "onnxruntime"
"""In FP32: what every machine can run, and what all others are measured against."""

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "openvino-bf16": "openvino"}
"""The runtimes that a table may name, and the package that each needs."""

SHIPPED = Path(__file__).parent / "choices.json"

Row = Mapping[str, Any]


def chosen_runtime(artifact: Artifact) -> tuple[str, str]:
    """(runtime, why) for an .onnx file on this machine; of several models, the one that is chosen for all.

    Raises:
        MerError: the user's own table cannot be read.
    """
    models = (artifact, *artifact.further)
    features = cpu_features()
    chosen = [_chosen_alone(model, features) for model in models]
    if len({name for name, _ in chosen}) == 1:
        return chosen[0][0], "; ".join(dict.fromkeys(why for _, why in chosen))
    each = ", ".join(f"{name} for {model.name}" for model, (name, _) in zip(models, chosen, strict=True))
    return DEFAULT, f"no other is chosen for all: {each}"


def _chosen_alone(artifact: Artifact, features: Collection[str]) -> tuple[str, str]:
    tables = [(SHIPPED, "the shipped table")]
    with suppress(MerError):  # without a home there is the shipped one
        tables.insert(0, (own_table(), "measured here"))
    for table, where in tables:
        row = row_for(rows_of(table), artifact.sha256, features)
        if row is None:
            continue
        for name in row["faster"]:
            if find_spec(PACKAGES[name]) is not None:
                return name, f"{where}: {row['tried'][name]}"
        missing = f", and {PACKAGES[row['faster'][0]]} is not installed" if row["faster"] else ""
        return DEFAULT, f"{where}: {'; '.join(row['tried'].values()) or 'nothing else was tried'}{missing}"
    return DEFAULT, "mer-bench tune has not measured this network on such a CPU"


def row_for(rows: Collection[Row], sha256: str, features: Collection[str]) -> Row | None:
    """A network's row for a CPU: of those that ask for no feature it lacks, the one that asks for most."""
    fitting = [row for row in rows if row["sha256"] == sha256 and set(row["cpu"]) <= set(features)]
    return max(fitting, key=lambda row: len(row["cpu"]), default=None)


def own_table() -> Path:
    """The user's own table: ``$MER_HOME/choices.json``.

    Raises:
        MerError: there is no home folder.
    """
    return models_home().parent / "choices.json"


def rows_of(table: Path) -> list[Row]:
    """The rows of a table; none where there is no such file.

    Each has "network", "sha256" (of its FP32 file), "cpu" (features that it needs), "faster" (runtimes, the
    best first) and "tried" (each runtime's figures, as a text).

    Raises:
        MerError: it cannot be read, or is no such table.
    """
    try:
        with table.open("rb") as file:
            rows = json_from_text(file.read(LONGEST + 1))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        # Of a user whose home is another's: nobody has put a table there for this one.
        if isinstance(error, PermissionError) and not os.access(table.parent, os.X_OK):
            return []
        reason = getattr(error, "strerror", None) or error
        raise MerError(f"{table} cannot be read ({reason}): delete it, or measure anew") from None
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise MerError(f"{table} is no table of runtimes: delete it, or measure anew")
    return rows


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    faster: Any = row.get("faster")
    tried = row.get("tried")
    return (
        isinstance(row.get("network"), str)
        and isinstance(row.get("sha256"), str)
        and _are_texts(row.get("cpu"))
        and isinstance(tried, dict)
        and _are_texts(list(tried.values()))
        and _are_texts(faster)
        and all(name in PACKAGES and name in tried for name in faster)
    )


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
