"""A song's picture: its log-mel, and under it what each window says."""

from __future__ import annotations

import io
import os
import warnings
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Float32
from ..audio.decoder import Budget, Limits
from ..audio.formats import is_remote
from ..audio.open import open_decoder
from ..audio.windows import samples_from_decoder
from ..errors import MerError, os_errors_say
from ..files import write_whole
from ..labelling.song_label import SongLabel
from ..spec import AudioSpec, ModelSpec
from ..spectrogram.log_mel import decibels_from_audio, mel_filters
from ..text.escape import for_terminal, text_from_path
from .marks import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#e09f00", "#cc3311", "#2266cc", "#0d9488", "#c2278a", "#7e3fb8", "#6b7d12", "#5c6670")
_MOST_COLUMNS = 1_600  # as many as the picture has pixels
_LONGEST_NAME = 250  # characters, of which the picture shows those that it has room for
_LONGEST_LABEL = 40  # characters
_MOST_COLUMNS_OF_NAMES, _MOST_ROWS_OF_NAMES = 12, 8
_RANGE_DB = 80.0
_TICKS_HZ = (200, 500, 1_000, 2_000, 4_000, 8_000, 16_000)
# Matplotlib's own font has no Devanagari; of these, those that are installed are tried in turn.
_FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans Devanagari", "Lohit Devanagari", "Nirmala UI", "Mangal",
    "Kohinoor Devanagari", "Devanagari Sangam MN", "FreeSans", "Noto Sans CJK JP", "Arial Unicode MS",
)  # fmt: skip


def check_matplotlib() -> None:
    """Raises MerError where a picture cannot be drawn: to be asked before its song is labelled."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MerError("a picture needs matplotlib: pip install 'merkit[plot]'") from None


def plot_song(label: SongLabel, spec: ModelSpec, limits: Limits, picture: Path) -> None:
    """Draws a labelled song as PNG: the whole of it as a log-mel in dB, and its windows' probabilities.

    Args:
        label: with windows; its path is opened again.
        spec: of the model that labelled it.
        limits: what opening and decoding it may cost.

    Raises:
        AudioError: the file cannot be decoded now, or has more than 2^27 samples.
        MerError: matplotlib is not installed, the picture is the song itself, or it cannot be written.
    """
    with suppress(OSError):  # of a picture that is not there yet, and of a song that is on the network
        if os.path.samefile(label.path, picture):
            raise MerError(f"{picture} is the song itself: name another file for its picture")
    check_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    decibels = _decibels(label.path, spec.audio, limits)
    with rc_context({"font.family": installed_fonts(), "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # where no font has it, boxes stand
        figure = Figure(figsize=(12, 6), layout="constrained", dpi=110)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_log_mel(above, decibels, spec.audio, label.duration_s or 0.0)
        _draw_timeline(below, label, spec)
        _draw_legend(figure, label, spec)
        _draw_title(figure, above, label)
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata=SOFTWARE)
    with os_errors_say(f"{picture} cannot be written"):
        write_whole(picture, content.getvalue())


def _decibels(path: str, spec: AudioSpec, limits: Limits) -> Float32:
    """The whole song's mel power in dB ``[mels, columns]``, in at most ``_MOST_COLUMNS`` columns."""
    from ..audio.remote_copy import local_copy

    with (
        local_copy(path, limits) if is_remote(path) else nullcontext(path) as local,
        closing(open_decoder(local, Budget(limits))) as decoder,
    ):
        decibels = decibels_from_audio(samples_from_decoder(decoder, spec), spec)
    frames = decibels.shape[1]
    firsts = np.unique(np.linspace(0, frames, min(frames, _MOST_COLUMNS), endpoint=False).astype(int))
    return np.maximum.reduceat(decibels, firsts, axis=1)  # a mean would hide short sounds


def _draw_log_mel(axes: Axes, decibels: Float32, spec: AudioSpec, seconds: float) -> None:
    top = float(decibels.max())
    mels = len(decibels)
    axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - _RANGE_DB,
        vmax=top,
        extent=(0, seconds, 0, mels),
        interpolation="nearest",
    )
    centres = mel_filters(spec).argmax(axis=1) * spec.sample_rate / spec.n_fft
    ticks = [hz for hz in _TICKS_HZ if centres[0] <= hz <= centres[-1]]
    axes.set_yticks(np.searchsorted(centres, ticks) + 0.5, [f"{hz:,}" for hz in ticks])
    axes.set_ylabel("Hz")


def _draw_timeline(axes: Axes, label: SongLabel, spec: ModelSpec) -> None:
    starts = [start for start, _ in label.windows]
    length = label.duration_s or 0.0
    ends = [min(start + spec.audio.window_s, length) for start in starts]
    # Windows that overlap share the time in which they do: each is drawn around its middle.
    meet = [(end + after) / 2 for end, after in zip(ends, starts[1:], strict=False)]
    lefts = np.maximum(starts, [0.0, *meet])
    widths = np.minimum(ends, [*meet, length]) - lefts
    bottom = np.zeros(len(starts))
    for number in range(len(spec.labels)):
        shares = np.array([0.0 if p is None else p[number] for _, p in label.windows])
        colour = _COLOURS[number % len(_COLOURS)]
        axes.bar(lefts, shares, widths, bottom, align="edge", color=colour)
        bottom += shares
    axes.set(xlim=(0, length), ylim=(0, 1), xlabel="seconds", ylabel="probability")


def _draw_legend(figure: Figure, label: SongLabel, spec: ModelSpec) -> None:
    """The labels' names below all, in as many columns as the picture has room for.

    Of more labels than its rows have room for, those that the song has most of are shown.
    """
    from matplotlib.patches import Patch

    order = np.argsort(-np.asarray(label.probabilities or [0.0] * len(spec.labels)), kind="stable")
    for columns in range(min(_MOST_COLUMNS_OF_NAMES, len(spec.labels)), 0, -1):
        shown = sorted(order[: columns * _MOST_ROWS_OF_NAMES])
        legend = figure.legend(
            [Patch(color=_COLOURS[number % len(_COLOURS)]) for number in shown],
            # By itself it leaves out names that begin with a line below.
            [_escaped(_cut(spec.labels[number], _LONGEST_LABEL)) for number in shown],
            loc="outside lower center",
            ncols=columns,
            frameon=False,
        )
        if legend.get_window_extent().width <= 0.95 * figure.bbox.width:
            break
        legend.remove()


def _draw_title(figure: Figure, axes: Axes, label: SongLabel) -> None:
    """The song's name, as much as the axes are wide, and its emotion."""
    name = " - ".join(filter(None, (label.tags.get("artist"), label.tags.get("title"))))
    name = for_terminal(name or text_from_path(label.path).rpartition("/")[2])
    said = "no emotion"
    if label.emotion and label.confidence:
        said = f"{_cut(label.emotion, _LONGEST_LABEL)} {label.confidence:.0%}"
    title = axes.set_title(said)
    figure.draw_without_rendering()  # which gives the axes their place
    for most in range(min(len(name), _LONGEST_NAME), 0, -1):
        title.set_text(_escaped(for_terminal(f"{_cut(name, most)}: {said}")))
        if title.get_window_extent().width <= axes.bbox.width:
            break


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _escaped(text: str) -> str:
    """Not as mathematics, which Matplotlib reads between dollars."""
    return text.replace("$", r"\$")


def installed_fonts() -> list[str]:
    """The fonts for pictures: Matplotlib complains of each that it is told of and that is not there."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed]
