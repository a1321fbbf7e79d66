"""Where ``--plot`` may draw: known before anything is labelled."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..catalogue.output import Kind, Output, refuse_inside_labels


def check_picture(picture: str, arguments: Iterable[str], output: Output) -> None:
    """Refuses a picture in place of an input or of another file, in a folder of labels, or in none.

    Raises:
        UsageError: it would be there, cannot be written, or would replace somebody else's.
        MerError: matplotlib is not installed.
    """
    from ..files import check_can_be_written
    from ..outputs.marks import is_picture, refuse_foreign
    from ..outputs.plot import check_matplotlib

    Output(Kind.FILE, picture).refuse_arguments(arguments)
    refuse_inside_labels(picture, *[output.path] * (output.kind is Kind.FOLDER))
    check_can_be_written(Path(picture))
    refuse_foreign(Path(picture), is_picture)
    check_matplotlib()
