"""Labels, skips and undo, and what two tabs see of each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from merkit.engine.errors import MerError, UsageError
from merkit.training.listening.label_file import LabelFile
from merkit.training.listening.queue_file import QueuedSong
from merkit.training.listening.session import Session, StaleError, labels_from_text


@pytest.fixture
def table(tmp_path: Path) -> Iterator[LabelFile]:
    table = LabelFile(tmp_path / "labels.csv")
    yield table
    table.close()


def _session(table: LabelFile, count: int = 3) -> Session:
    folder = table.file.parent
    songs = [QueuedSong(str(folder / f"{number}.mp3"), f"artist {number}") for number in range(count)]
    return Session(songs, ("calm", "sad"), table)


def _lines(table: LabelFile) -> list[str]:
    return table.file.read_text().splitlines()[1:]


def test_one_song_after_the_other(table: LabelFile):
    session = _session(table)
    assert session.state() == {
        "total": 3, "done": 0, "counts": [0, 0], "last": None,
        "song": {"number": 0, "name": "0.mp3", "artist": "artist 0"},
    }  # fmt: skip
    session.label(0, "sad")
    state = session.label(1, "calm")
    assert (state["done"], state["counts"], state["song"]["number"]) == (2, [1, 1], 2)
    assert (state["last"]["number"], state["last"]["label"]) == (1, "calm")
    assert session.label(2, "sad")["song"] is None
    assert _lines(table) == ["0.mp3,sad,artist 0", "1.mp3,calm,artist 1", "2.mp3,sad,artist 2"]


def test_skipped_songs_come_last(table: LabelFile):
    session = _session(table)
    assert session.skip(0)["song"]["number"] == 1
    assert session.skip(1)["song"]["number"] == 2
    assert session.label(2, "sad")["song"]["number"] == 0
    assert session.skip(0)["song"]["number"] == 1
    assert _lines(table) == ["2.mp3,sad,artist 2"]


def test_undo_takes_back_what_was_last(table: LabelFile):
    session = _session(table)
    session.label(0, "sad")
    session.skip(1)
    session.label(2, "calm")
    assert session.undo()["song"]["number"] == 2
    assert session.undo()["song"]["number"] == 1
    assert session.undo()["song"]["number"] == 0
    assert _lines(table) == []
    with pytest.raises(MerError, match="nothing to take back"):
        session.undo()


def test_undo_reaches_into_the_session_before(table: LabelFile):
    _session(table).label(1, "sad")
    session = _session(table)
    assert session.state()["last"]["number"] == 1
    assert session.undo()["song"]["number"] == 1
    assert _lines(table) == []


def test_undo_leaves_rows_alone_that_are_not_of_the_queue(table: LabelFile):
    table.add("/elsewhere.mp3", "sad")
    with pytest.raises(MerError, match="nothing to take back"):
        _session(table).undo()
    assert len(_lines(table)) == 1


def test_undo_of_a_skip_leaves_the_row_that_an_editor_wrote_meanwhile(table: LabelFile):
    session = _session(table)
    session.label(0, "sad")
    session.skip(1)
    with table.file.open("a") as editor:
        editor.write("1.mp3,calm,\n")
    assert session.state()["last"] == {"number": 1, "name": "1.mp3", "artist": "artist 1", "label": None}
    assert session.undo()["song"]["number"] == 2
    assert _lines(table) == ["0.mp3,sad,artist 0", "1.mp3,calm,"]
    with pytest.raises(MerError, match="another program"):
        session.undo()


def test_many_skipped_songs_keep_their_order(table: LabelFile):
    session = _session(table, 4)
    for number in (2, 0, 1, 2):
        session.skip(number)
    shown = [session.state()["song"]["number"]]
    while (state := session.label(shown[-1], "sad"))["song"]:
        shown.append(state["song"]["number"])
    assert shown == [3, 0, 1, 2]


def test_a_label_that_another_program_took_out_is_asked_again(table: LabelFile):
    session = _session(table)
    session.label(0, "sad")
    table.file.write_text("path,label,artist\n")
    assert session.state()["song"]["number"] == 0
    session.label(0, "calm")
    assert _lines(table) == ["0.mp3,calm,artist 0"]


def test_two_tabs_give_a_song_one_row(table: LabelFile):
    session = _session(table, 8)

    def tab(number: int) -> bool:
        try:
            session.label(number % 8, "sad")
        except StaleError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(tab, range(32))) == 8
    assert sorted(_lines(table)) == [f"{number}.mp3,sad,artist {number}" for number in range(8)]


@pytest.mark.parametrize(("number", "label"), [(3, "sad"), (-1, "sad"), (0, "angry"), (0, "")])
def test_what_is_not_there_is_refused(table: LabelFile, number: int, label: str):
    with pytest.raises(MerError):
        _session(table).label(number, label)
    assert _lines(table) == []


def test_labels_of_an_option():
    assert labels_from_text(" शांत , very  sad,C") == ("शांत", "very sad", "C")
    assert labels_from_text(unicodedata.normalize("NFD", "gl\xe9,sad")) == ("gl\xe9", "sad")
    assert labels_from_text('"happy,  ""very""",tense') == ('happy, "very"', "tense")
    for text in ("", "a", "a,", "a,A", "=a,b", "a\x1b,b", ",".join(map(str, range(34)))):
        with pytest.raises(UsageError):
            labels_from_text(text)
