"""Text in pictures: names of labels and models as they are written, in whatever script."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from matplotlib import rc_context

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


@cache
def _say_boxes() -> None:
    print_err(
        "no font here has all characters of the labels, so pictures show boxes for them: install "
        "fonts-noto-core, or another font of that script"
    )
