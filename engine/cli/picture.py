"""Where ``--plot`` may draw: known before anything is labelled."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..catalogue.output import Kind, Output
from ..errors import MerError, UsageError


def check_picture(picture: str, arguments: Iterable[str], output: Output) -> None:
    """Refuses a picture in place of an input or of another file, in a folder of labels, or in none.

    Raises:
        UsageError, MerError: it would be there, or matplotlib is not installed.
    """
    from ..outputs.marks import is_picture, refuse_foreign
    from ..outputs.plot import check_matplotlib

    Output(Kind.FILE, picture).refuse_arguments(arguments)
    path = Path(picture).resolve()
    if output.kind is Kind.FOLDER and path.is_relative_to(Path(output.path).resolve()):
        raise UsageError(f"{picture} is inside {output.path}, which other programs read as a whole")
    if not path.parent.is_dir():
        raise MerError(f"{picture} cannot be written: there is no folder {path.parent}")
    refuse_foreign(path, is_picture)
    check_matplotlib()
