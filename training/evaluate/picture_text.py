"""Pictures, and their text: names of labels and models as they are written, in whatever script."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ...engine.files import whole_file
from ...engine.outputs.marks import SOFTWARE
from ...engine.outputs.plot import installed_fonts
from ...engine.text.streams import print_err

_LONGEST = 40  # characters of a label
_MISSING = "Glyph .* missing from|Matplotlib currently does not support"


def plain_text(draw: Callable[..., None]) -> Callable[..., None]:
    """Draws text as it stands: between two ``$`` too is no formula.

    Characters that no font here has are boxes; that is said in one line, once.
    """

    @wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> None:
        style = rc_context({"text.parse_math": False, "text.usetex": False, "font.family": installed_fonts()})
        with style, warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", _MISSING)
            draw(*arguments, **options)
        missing = False
        for warning in caught:
            if re.match(_MISSING, str(warning.message)):
                missing = True
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if missing:
            _say_boxes()

    return drawn


def shortened(label: str) -> str:
    """A label that leaves room for the picture beside it."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def draw_counts(axes: Any, matrix: Any, size: float | None = None) -> Any:
    """A matrix of counts in shades of their shares of the row; ``size`` is that of the numbers."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    return axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)


def write_png(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Whole or not at all, and known as ours again."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=dpi, metadata=SOFTWARE)


@cache
def _say_boxes() -> None:
    print_err(
        "no font here has all characters of the labels, so pictures show boxes for them: install "
        "fonts-noto-core, or another font of that script"
    )
