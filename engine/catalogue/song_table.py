"""Songs and their labels as a table that fits the width of a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..labelling.song_label import SongLabel
from ..text.escape import for_terminal, text_from_path
from .timeline_line import Cells, legend, line_from_cells

if TYPE_CHECKING:
    from rich.console import RenderableType

_LEAST = 20  # columns of the terminal for a song's name, if it is so long
_GAP = 2  # between two columns of the table

_Column = tuple[str, Callable[[SongLabel], Text]]  # its heading, and a song's cell
_Row = tuple[SongLabel, Text | None]  # a song, and what stands below it


def console_of_stdout() -> Console:
    """A console as wide as its terminal.

    Rich takes the 0 columns of ``COLUMNS=0``, which print nothing, and 80 for each terminal that is dumb.
    """
    console = Console()
    if console.width < 1 or console.is_dumb_terminal:
        console.size = shutil.get_terminal_size()
    return console


def print_songs(
    console: Console, songs: Sequence[SongLabel], labels: tuple[str, ...], timelines: Sequence[Cells] = ()
) -> None:
    """Prints a row for each song, by its artist and title where it has a title, else by its path.

    The reason of an error stands below its song, as wide as the terminal, and so does its timeline, if there
    are ``timelines``: one for each song. Where there is no room, one column gives the share of the best label
    instead of one for each label. In a very narrow terminal all of it stands below the song.
    """
    is_coloured = console.color_system is not None and not console.no_color
    room_below = console.width - _GAP
    rows: list[_Row] = [
        (song, _text(song.error, "red"))
        if song.error
        else (song, line_from_cells(cells, labels, room_below, is_coloured) if cells else None)
        for song, cells in zip(songs, timelines or [()] * len(songs), strict=True)
    ]
    longest = max((_name(song).cell_len for song in songs), default=0)
    for columns in _layouts(labels, list(dict.fromkeys(name for song in songs for name in song.further))):
        widths = [
            max([_text(head).cell_len, *(cell(song).cell_len for song in songs)]) for head, cell in columns
        ]
        room = console.width - sum(widths) - _GAP * len(widths)
        if room >= min(_LEAST, max(longest, len("song"))):
            parts = _table(rows, columns, [min(room, longest), *widths])
            break
    else:
        parts = _list(rows)
    for part in parts:
        console.print(part)
    if any(timelines):
        console.print(_below(legend(labels, is_coloured)))


def _layouts(labels: tuple[str, ...], further: Sequence[str]) -> Iterator[list[_Column]]:
    """The columns beside a song's name, the best choice first; ``further`` are names of further models."""
    emotion, length = ("emotion", _emotion), ("length", _length)
    shares = [(name, partial(_share, number=number)) for number, name in enumerate(labels)]
    others = [(name, partial(_said, model=name)) for name in further]
    yield [emotion, *shares, *others, length]
    yield [emotion, ("share", _share), *others, length]
    yield [emotion, ("share", _share), *others]
    yield [emotion, ("share", _share)]


def _table(rows: Sequence[_Row], columns: list[_Column], widths: list[int]) -> Iterator[RenderableType]:
    """Tables of the same widths: one up to each song with something below it, wider than a column."""
    table = _rows(["song", *(heading for heading, _ in columns)], widths, show_header=True)
    for song, below in rows:
        table.add_row(_name(song), *(cell(song) for _, cell in columns))
        if below is not None:
            yield table
            yield _below(below)
            table = _rows([""] * len(widths), widths, show_header=False)
    if table.row_count:
        yield table


def _rows(headings: list[str], widths: list[int], show_header: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=show_header)
    for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        justify = "left" if number < 2 else "right"
        table.add_column(_text(heading), width=width, justify=justify, overflow="fold")
    return table


def _list(rows: Sequence[_Row]) -> Iterator[RenderableType]:
    for song, below in rows:
        yield _name(song)
        yield _below(Text.assemble(_emotion(song), "  ", (below or "") if song.error else _share(song)))
        if below is not None and not song.error:
            yield _below(below)


def _below(text: Text) -> Padding:
    if not text.no_wrap:
        text.overflow = "fold"
    return Padding(text, (0, 0, 0, 2))


def _name(song: SongLabel) -> Text:
    if title := song.tags.get("title"):
        return _text(" - ".join(filter(None, (song.tags.get("artist"), title))))
    return _text(text_from_path(song.path))


def _emotion(song: SongLabel) -> Text:
    """The emotion, with a question mark where it is unsure, or why there is none."""
    if song.error:
        return _text("error", "red")
    if song.emotion is None:
        return _text(song.verdict or "", "dim")
    return _text(f"{song.emotion}?" if song.verdict == "unsure" else song.emotion, "bold")


def _share(song: SongLabel, number: int | None = None) -> Text:
    """The share of a label, by its number, or of the best one."""
    if song.confidence is None:
        return Text()
    share = song.confidence if number is None else song.probabilities[number]
    return Text(f"{share:.0%}", "bold" if share == song.confidence else "dim")


def _said(song: SongLabel, model: str) -> Text:
    """What a further model says, with its share."""
    own = song.further.get(model)
    return Text() if own is None else Text.assemble(_emotion(own), " ", _share(own))


def _length(song: SongLabel) -> Text:
    if song.duration_s is None:
        return Text()
    minutes, seconds = divmod(round(song.duration_s), 60)
    return Text(f"{minutes}:{seconds:02}")


def _text(text: str, style: str = "") -> Text:
    return Text(for_terminal(text), style, overflow="fold")
