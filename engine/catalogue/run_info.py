"""What all rows of a folder of labels have in common, and what decides them.

It stands in the metadata of every shard. A file of its own would be in the way: readers of data sets, such as
polars, refuse a folder that holds anything else.
"""

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

KEY = b"mer.run"
"""Its name in a shard's metadata."""

OLD_FILES = ("_run.json", "run.json")
"""The files that older folders have in its place."""

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
        """The text in the metadata of shards."""
        fields = {"format": _FORMAT, "labels": self.labels, "carried": dict(self.carried), **self.decides}
        return json.dumps(fields, ensure_ascii=False)

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


def fields_from_json(text: str | bytes, where: Path) -> dict[str, Any]:
    """The fields of ``RunInfo.to_json``.

    Raises:
        MerError: they cannot be read, or are another version's.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise MerError(f"{where} cannot be read: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise MerError(f"{where} was made by another version of merkit: write to another folder")
    return fields


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
