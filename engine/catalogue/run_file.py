"""``_run.json`` of a folder of labels: what all its rows have in common, and what decides them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..artifact import Artifact
from ..errors import MerError
from ..labelling.file_windows import WindowOptions

RUN_FILE = "_run.json"
"""Readers of Parquet data sets pass over names that begin with ``_`` or ``.``."""

OLD_RUN_FILE = "run.json"
"""Its name in older folders."""

_FORMAT = 1


@dataclass(frozen=True)
class RunInfo:
    """What all rows of a folder have in common.

    ``carried`` has a manifest's columns and their kinds; ``decides`` is all that decides a row, apart from
    its audio file: the model and the options.
    """

    labels: tuple[str, ...]
    carried: Mapping[str, str]
    decides: Mapping[str, Any]

    def to_json(self) -> str:
        """The text of the folder's ``_run.json``."""
        fields = {"format": _FORMAT, "labels": self.labels, "carried": dict(self.carried), **self.decides}
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"

    def check(self, before: Mapping[str, Any], folder: Path) -> None:
        """Refuses the folder of a run with another model or other options.

        Raises:
            MerError: which they are, before and now.
        """
        differences = [
            f"{name} {_short(before.get(name))}, now {_short(value)}"
            for name, value in json.loads(self.to_json()).items()
            if before.get(name) != value
        ]
        if differences:
            raise MerError(
                f"{folder} was begun with other options: {'; '.join(differences)}. "
                "Write to another folder, or delete this one to start again"
            )


def run_info(
    artifact: Artifact,
    runtime: str,
    options: WindowOptions,
    carried: Mapping[str, str] = MappingProxyType({}),
) -> RunInfo:
    """The ``RunInfo`` of a run. It leaves out the time limit: a run may be resumed with a longer one."""
    decides = {
        "model": artifact.name,
        "model_sha256": artifact.sha256,
        "audio_spec": options.spec.fingerprint,
        "runtime": runtime,
        "windows": options.windows,
        "hop_s": options.hop_s,
    }
    return RunInfo(artifact.spec.labels, carried, decides)


def run_file_in(folder: Path) -> Path | None:
    """The folder's file under its new or its old name; None if it has none."""
    paths = (folder / RUN_FILE, folder / OLD_RUN_FILE)
    return next((path for path in paths if path.exists()), None)


def read_run(folder: Path) -> dict[str, Any]:
    """The fields of a folder's ``_run.json``.

    Raises:
        MerError: the folder has none, or it cannot be read.
    """
    path = run_file_in(folder)
    if path is None:
        raise MerError(f"{folder} is no folder of labels: it has no {RUN_FILE}")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MerError(f"{path} cannot be read: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise MerError(f"{path} was made by another version of merkit: write to another folder")
    return fields


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
