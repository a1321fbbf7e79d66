"""One machine's part of labelling on a Ray cluster, and the tables that go there and come back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ..artifact import Artifact
from ..audio.formats import is_remote
from ..errors import MerError
from ..runtimes import open_runtime
from .bug_log import failure_from_bug, log_bug
from .contract import StageSeconds
from .file_windows import WindowOptions
from .local import FileByFile, LocalBackend, network_threads

FAILED = -1
"""In place of a position: the actor itself failed, and "label" is the reason."""


class LabelActor:
    """A network and child processes that decode, for block after block of ``block_from_paths``.

    For each path it gives a row: "position", "label" as JSON, and "stages" as JSON, with the seconds of the
    whole block in its first row.

    Args:
        model: Ray's reference to an ``Artifact``.
        runtime: one of ``RUNTIMES``.
        cores: of the actor; as many processes decode.
    """

    def __init__(self, model: Any, runtime: str, options: WindowOptions, cores: int) -> None:
        import ray

        self._artifact: Artifact = ray.get(model)
        self._options = options
        network = open_runtime(self._artifact, runtime, network_threads(cores))
        self._backend = LocalBackend(FileByFile(network), cores)

    def __call__(self, block: Any) -> Any:
        try:
            return self._labelled(block)
        except MerError as error:
            return _failed(str(error))
        except Exception as error:  # Ray Data is told to pass over errors, since it counts dead nodes as such
            reason, text = failure_from_bug(error, "a block of files")
            log_bug(text)
            return _failed(reason)

    def _labelled(self, block: Any) -> Any:
        import pyarrow as pa

        paths = [os.fsdecode(path) for path in block["paths"][0].as_py()]
        stages = StageSeconds()
        labels = list(self._backend.label_files(paths, self._artifact, self._options, stages=stages))
        return pa.table(
            {
                "position": block["positions"][0].values,
                "label": [label.to_json() for label in labels],
                "stages": [json.dumps(vars(stages)), *["{}"] * (len(labels) - 1)],
            }
        )


def block_from_paths(paths: Mapping[int, str]) -> Any:
    """A table of one row: the list of "positions", and that of "paths" as bytes, since not all are UTF-8.

    One row, since Ray Data joins small blocks until a call on a GPU has the rows that it was told.
    """
    import pyarrow as pa

    return pa.table({"positions": [list(paths)], "paths": [[_absolute(path) for path in paths.values()]]})


def _failed(reason: str) -> Any:
    import pyarrow as pa

    return pa.table({"position": [FAILED], "label": [reason], "stages": ["{}"]})


def _absolute(path: str) -> bytes:
    """The same file from any working folder. ``..`` stays: behind a link it leads elsewhere than as text."""
    as_it_is = not path or os.path.isabs(path) or is_remote(path)
    return os.fsencode(path if as_it_is else os.path.join(os.getcwd(), path))
