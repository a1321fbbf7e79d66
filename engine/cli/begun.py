"""What a folder of labels was begun with: the same command goes on with it, whatever is the default now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MerError


def runtime_begun(folder: Path) -> str | None:
    """The CPU's runtime of its rows, which a resume on another machine keeps; None where there is none yet.

    Raises:
        MerError: it holds shards that cannot be read.
    """
    from ..runtimes.choice import PACKAGES

    runtime = _fields(folder).get("runtime")
    return runtime if runtime in PACKAGES else None


def models_begun(folder: Path) -> tuple[str, ...]:
    """The names of its models; none where there is no folder of labels yet.

    Raises:
        MerError: see ``runtime_begun``; or a name leads to no file today, or to another.
    """
    from ..artifact import known_models, open_artifact
    from ..catalogue.run_info import models_of_fields

    digests, known = models_of_fields(_fields(folder)), known_models()
    for name, digest in digests.items():
        if name not in known or open_artifact(name).sha256 != digest:
            which = f"another model called {name} than today's" if name in known else f"a model called {name}"
            raise MerError(
                f"{folder} was begun with {which}: "
                "name its file or folder with --model, or write to another folder"
            )
    return tuple(digests)


def _fields(folder: Path) -> Mapping[str, Any]:
    from ..catalogue.shards import fields_of_folder

    return (fields_of_folder(folder) if folder.is_dir() else None) or {}
