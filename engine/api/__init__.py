"""Music emotion recognition at catalogue speed: songs in, emotions out.

One song::

    import merkit

    print(merkit.label("song.mp3").emotion)

``Labeler`` keeps a model open for many songs, and labels samples that are in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .quiet import end_without_traceback, send_nothing

if TYPE_CHECKING:
    from merkit.engine.errors import MerError
    from merkit.engine.labelling.song_label import SongLabel

    from .labeler import Labeler, label

send_nothing()
end_without_traceback()

__version__ = "0.1.0"
__all__ = ["Labeler", "MerError", "SongLabel", "__version__", "label"]

_MODULES = {
    "Labeler": "merkit.labeler",
    "label": "merkit.labeler",
    "MerError": "merkit.engine.errors",
    "SongLabel": "merkit.engine.labelling.song_label",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used (PEP 562): ``import merkit`` loads no NumPy and no decoder."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
