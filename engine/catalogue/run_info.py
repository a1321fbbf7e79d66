"""What all rows of a folder of labels have in common, and what decides them.

It stands in the metadata of every shard. A file of its own would be in the way: readers of data sets, such as
polars, refuse a folder that holds anything else.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..artifact import Artifact
from ..errors import MerError
from ..labelling.file_windows import WindowOptions
from ..labelling.further import prefix_of_columns
from ..strict_json import json_from_text
from ..text.escape import storable
from .rows import CARRIED_KINDS

KEY = b"mer.run"
"""Its name in a shard's metadata."""

FILE_KEY = b"mer.rows"
"""Its name in the metadata of one Parquet file with all rows, which no checksum seals."""

OLD_FILES = ("_run.json", "run.json")
"""The files that older folders have in its place."""

UNDO_FILE = ".undo.jsonl"
"""The file in a folder of labels by which files that were tagged from it get their old bytes."""

FORMAT = 2
"""Of the text. Shards of format 1 have no checksum; their folders go on in this one."""

_FORMATS = (1, FORMAT)
_BETWEEN_MODELS = re.compile(r", (?=(?:[0-9a-f]{64}|None) )")  # names may hold ", " too
_MOST_NAMED = 10  # columns of a table, which may have thousands
# RTX's engines are run by one runtime, which older folders name by what built them.
_SAME_RUNTIMES = {"tensorrt_rtx": "tensorrt"}


@dataclass(frozen=True)
class RunInfo:
    """What all rows of a folder have in common.

    ``carried`` has a manifest's columns and their kinds; ``decides`` is all that decides a row, apart from
    its audio file: the model and the options.
    """

    labels: tuple[str, ...]
    carried: Mapping[str, str]
    decides: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """What the metadata of shards say, in values of JSON."""
        return {"format": FORMAT, "labels": list(self.labels), "carried": dict(self.carried), **self.decides}

    def to_json(self) -> str:
        """``fields`` as text, which ``fields_from_json`` reads."""
        return json.dumps(self.fields(), ensure_ascii=False)

    def check(self, before: Mapping[str, Any], folder: Path) -> None:
        """Refuses the folder, or the shard, of a run with another model or other options.

        Raises:
            MerError: which they are, before and now.
        """
        old, now = dict(before), self.fields()
        if old.get("audio_spec", "") is None and now.get("audio_spec"):
            raise MerError(
                f"{folder} has the rows of a file that does not say how they were made (CSV, JSON lines, "
                "Parquet of an older version): label into another folder"
            )
        if old.get("further") != now.get("further"):
            names = [name for each in (old, now) for name in _further(each.get("further"))]
            for each in (old, now):
                each["carried"] = _without_columns(each.get("carried"), names)
        if now.get("model_sha256") == old.get("model_sha256", ""):  # by another name: its folder was moved
            old["model"] = now.get("model")
        differences = [
            _difference(name, old.get(name), value)
            for name, value in now.items()
            if name != "format" and not _are_same(name, old.get(name), value)
        ]
        if differences:
            start = "Write to another folder, or delete this one to start again"
            labels = folder if folder.is_dir() else folder.parent
            if (labels / UNDO_FILE).exists():
                start = (
                    "Write to another folder. Files were tagged from this one: before it is deleted, "
                    f"mer-label tag {shlex.quote(str(labels))} --undo --write gives them their old bytes"
                )
            raise MerError(f"{folder} was begun with other options: {'; '.join(differences)}. {start}")


def run_info(
    artifact: Artifact,
    runtime: str,
    options: WindowOptions,
    carried: Mapping[str, str] = MappingProxyType({}),
) -> RunInfo:
    """The ``RunInfo`` of a run. It leaves out the time limit: a run may be resumed with a longer one."""
    decides = {
        "model": storable(artifact.name),
        "model_sha256": artifact.sha256,
        "audio_spec": options.spec.fingerprint,
        "runtime": _SAME_RUNTIMES.get(runtime, runtime),
        "windows": options.windows,
        "hop_s": options.hop_s,
        "window_s": options.spec.window_s,
        "decoder": options.decoder,
        "min_confidence": options.min_confidence,
        "further": ", ".join(f"{model.sha256} {storable(model.name)}" for model in artifact.further) or None,
    }
    return RunInfo(artifact.spec.labels, carried, decides)


def info_from_fields(fields: Mapping[str, Any]) -> RunInfo:
    """The inverse of ``RunInfo.fields``."""
    decides = {name: fields[name] for name in fields if name not in ("format", "labels", "carried")}
    return RunInfo(tuple(fields["labels"]), fields["carried"], decides)


def fields_from_json(text: str | bytes, where: Path) -> dict[str, Any]:
    """The fields of ``RunInfo.to_json``.

    Raises:
        MerError: they cannot be read, are another version's, or none that merkit writes.
    """
    try:
        fields = json_from_text(text)
    except ValueError as error:
        raise MerError(f"{where} cannot be read: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") not in _FORMATS:
        raise MerError(f"{where} was made by another version of merkit: write to another folder")
    labels, carried = fields.get("labels"), fields.get("carried")
    plain = [value for name, value in fields.items() if name not in ("labels", "carried")]
    if not (
        isinstance(labels, list)
        and labels
        and all(isinstance(label, str) for label in labels)
        and len({*labels}) == len(labels)
        and isinstance(carried, dict)
        and all(kind in CARRIED_KINDS for kind in carried.values())
        and all(value is None or isinstance(value, str | int | float) for value in plain)
    ):
        raise MerError(f"{where} does not say what its labels are of: it was changed after it was written")
    return fields


def models_of_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """The models of a folder with these fields, each with its SHA-256: the first, then the further ones."""
    first = {fields["model"]: fields.get("model_sha256", "")} if fields.get("model") else {}
    return {**first, **_further(fields.get("further"))}


def _are_same(name: str, before: Any, now: Any) -> bool:
    if name in ("decoder", "window_s") and before is None:  # older folders do not say it
        return True
    return before == now or (name == "runtime" and _SAME_RUNTIMES.get(before, before) == now)


def _further(said: Any) -> dict[str, str]:
    """The further models that a folder names, each with its digest."""
    pairs = [model.partition(" ") for model in _BETWEEN_MODELS.split(str(said or "")) if model]
    return {name: digest for digest, _, name in pairs}


def _without_columns(carried: Any, models: Iterable[str]) -> Any:
    """The columns of a manifest alone: those of further models differ because the models do."""
    begins = tuple(map(prefix_of_columns, models))
    return {name: kind for name, kind in (carried or {}).items() if not name.startswith(begins)}


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "carried":
        return f"columns of the table {_only(before, now)}, now {_only(now, before)}"
    if name != "further":
        return f"{name} {_short(before)}, now {_short(now)}"
    old, new = _further(before), _further(now)
    if [*old] == [*new]:
        old, new = ([f"{each} {_short(digest)}" for each, digest in models.items()] for models in (old, new))
    return f"further models {' and '.join(old) or 'none'}, now {' and '.join(new) or 'none'}"


def _only(columns: Any, others: Any) -> str:
    """The columns of a manifest that the other one lacks, or has as another kind."""
    columns, others = columns or {}, others or {}
    names = [
        f"{name}: {kind}" if name in others else name
        for name, kind in columns.items()
        if others.get(name) != kind
    ]
    rest = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return f"{{{', '.join(names[:_MOST_NAMED] + rest)}}}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
