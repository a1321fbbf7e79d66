"""The row of a label, and the columns that every row has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..artifact import Artifact
from ..audio.decoder import TAGS
from ..errors import UsageError
from ..labelling.further import further_columns, further_values
from ..labelling.song_label import SongLabel
from ..text.escape import storable, text_from_path
from .reconcile import AUDIO, UNREADABLE
from .source import Source

if TYPE_CHECKING:
    import pyarrow as pa


CARRIED_KINDS = ("string", "int64", "float64", "bool")
"""The kinds of a manifest's columns."""


def row_from_label(
    label: SongLabel,
    artifact: Artifact,
    source: Source | None = None,
    runtime: str | None = None,
    kept: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """A song's row: the same keys in the same order for every song of a model.

    ``path`` is escaped by ``text_from_path``, other text by ``storable``. The columns of the source's
    manifest come last, under the names that ``carried_columns`` gives them, for which ``kept`` is.
    """
    labels = artifact.spec.labels
    probabilities = label.probabilities or (None,) * len(labels)
    row = {
        "path": text_from_path(label.path),
        "status": "error" if label.error else "ok",
        "error": label.error,
        "emotion": label.emotion,
        "confidence": label.confidence,
        "verdict": label.verdict,
        "novelty": label.novelty,
        **{f"p_{name}": value for name, value in zip(labels, probabilities, strict=True)},
        "duration_s": label.duration_s,
        "windows": [{"start_s": start, "p": p and list(p)} for start, p in label.windows],
        **{name: label.tags.get(name) for name in TAGS},
        "decoder": label.decoder,
        "model": artifact.name,
        "model_sha256": artifact.sha256,
        "runtime": runtime,
        "size_bytes": source.size_bytes if source else None,
        "mtime_ns": source.mtime_ns if source else None,
        "ctime_ns": source.ctime_ns if source else None,
        "real_path": source.real_path if source else None,
        "error_kind": (UNREADABLE if label.unreadable else AUDIO) if label.error else None,
    }
    for model in artifact.further:
        row |= further_values(label, model)
    if source and source.columns:
        row |= carried_columns(source.columns, names_of_columns(artifact), kept)
    return stored(row)


def stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as rows hold them: text by ``storable``."""
    return {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}


def rounded(row: dict[str, Any], float32_columns: Iterable[str]) -> dict[str, Any]:
    """A row that was stored in Parquet, in place, with the six decimals that float32 had been made of."""
    for name in float32_columns:
        row[name] = row[name] if row[name] is None else round(row[name], 6)
    for window in row["windows"] or ():
        window["p"] = window["p"] and [round(p, 6) for p in window["p"]]
    return row


def size_of_row(row: Mapping[str, Any]) -> int:
    """About how many bytes of memory a row takes, or some columns of one."""
    windows = row.get("windows") or ()
    a_window = 300 + 40 * len((windows[0]["p"] if windows else None) or ())
    texts = sum(len(value) for value in row.values() if isinstance(value, str))
    return 250 + 43 * len(row) + len(windows) * a_window + texts


def columns_of_rows(labels: tuple[str, ...]) -> dict[str, str]:
    """The columns of every row, in order: name to "string", "int64", "float32", "float64" or "windows"."""
    return {
        **dict.fromkeys(("path", "status", "error", "emotion"), "string"),
        "confidence": "float32",
        "verdict": "string",
        **dict.fromkeys(("novelty", *(f"p_{name}" for name in labels)), "float32"),
        "duration_s": "float64",
        "windows": "windows",
        **dict.fromkeys((*TAGS, "decoder", "model", "model_sha256", "runtime"), "string"),
        **dict.fromkeys(("size_bytes", "mtime_ns", "ctime_ns"), "int64"),
        **dict.fromkeys(("real_path", "error_kind"), "string"),
    }


def names_of_columns(artifact: Artifact) -> frozenset[str]:
    """The names of all columns of a model's rows but those of manifests.

    Raises:
        UsageError: two columns have the same name, by the labels and the names of further models.
    """
    parts = [columns_of_rows(artifact.spec.labels), *map(further_columns, artifact.further)]
    names = frozenset().union(*parts)
    if len(names) < sum(map(len, parts)):
        raise UsageError("columns of these models would have the same names: give each a run of its own")
    return names


def carried_columns(
    columns: Mapping[str, Any], own: frozenset[str], kept: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A manifest's columns as rows name them: with ``manifest_`` before a name that rows use themselves.

    It stands there as often as it takes until no other column has the name, also in other capitals: SQL
    takes "Title" and "title" for one.

    Args:
        own: what ``names_of_columns`` gives.
        kept: the names in a folder that was begun before: older ones have "Title" beside "title".
    """
    return dict(zip(_carried_names(tuple(columns), own, kept), columns.values(), strict=True))


@lru_cache(8)
def _carried_names(columns: tuple[str, ...], own: frozenset[str], kept: frozenset[str]) -> list[str]:
    reserved, given = {name.casefold() for name in own}, set[str]()
    before = {column.casefold() for column in columns}
    names = {}
    for column in sorted(columns):  # manifests with the same columns may have them in another order
        name, stays = storable(column), column in kept - own
        while not stays and (
            (folded := name.casefold()) in reserved
            or folded in given
            or (name != column and folded in before)
        ):
            name = f"manifest_{name}"
        given.add(name.casefold())
        names[column] = name
    return [names[column] for column in columns]


def schema_of_rows(labels: tuple[str, ...], carried: Mapping[str, str] = MappingProxyType({})) -> pa.Schema:
    """The Parquet schema of rows. ``carried``: a manifest's columns, as rows name them, and their kinds."""
    import pyarrow as pa

    kinds: dict[str, Any] = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "windows": pa.list_(pa.struct([("start_s", pa.float64()), ("p", pa.list_(pa.float32()))])),
    }
    columns = {**columns_of_rows(labels), **carried}
    fields = [pa.field(name, kinds[kind], name not in ("path", "status")) for name, kind in columns.items()]
    return pa.schema(fields)
