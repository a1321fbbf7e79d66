from __future__ import annotations

import json
import math
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_folders import row_of, write_labels
from merkit.engine.catalogue.playlists import sources_from_playlist
from merkit.engine.outputs.playlists import (
    NOT_FOR_VLC,
    entries_from,
    journey,
    names_of_playlists,
    write_m3u8,
    write_nsp,
    write_xspf,
)
from merkit.engine.outputs.songs import Song, songs_in


def write(playlist: Path, name: str, files: list[Path], songs: list[Song]) -> None:
    entry_of = entries_from(playlist.parent)
    entries = [entry_of(str(file)) or "" for file in files]
    write_m3u8(playlist, name, zip(entries, songs, strict=True))


def entries(playlist: Path) -> list[str]:
    """Its songs as the reader of playlists finds them."""
    return [source.path for source in sources_from_playlist(str(playlist), lambda: None)]


def test_entries_are_relative_and_lead_to_the_files(tmp_path: Path) -> None:
    names = ["गीत/दिल 💔.mp3", "#1 Hit.mp3", " blank.mp3", "plain.flac", os.fsdecode(b"caf\xe9.mp3")]
    names += ["http:x.opus", "file:x.opus", "a:b/c.mp3"]
    files = [tmp_path / "music" / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"sound")
    (tmp_path / "linked").symlink_to(tmp_path / "music")
    labels = write_labels(tmp_path / "labels", [row_of(file, artist="अ\nब", title="t") for file in files])
    playlist = tmp_path / "linked" / "lists" / "Happy.m3u8"
    playlist.parent.mkdir()
    songs = list(songs_in(labels)[1])
    write(playlist, "Happy", files, songs)
    lines = os.fsdecode(playlist.read_bytes()).split("\n")
    assert lines[:5] == [
        "#EXTM3U",
        "#made by mer-label playlist",
        "#PLAYLIST:Happy",
        "#EXTINF:10,अ\\nब - t",
        "../गीत/दिल 💔.mp3",
    ]
    assert not any(line.startswith("/") for line in lines)
    assert [os.path.realpath(path) for path in entries(playlist)] == [str(file) for file in files]


def test_an_entry_beside_the_playlist_is_no_comment_and_no_url(tmp_path: Path) -> None:
    names = ["#x.mp3", "http:x.opus", "file:x.opus", "a:b/c.mp3", "d/e:f.mp3", "plain.mp3"]
    (tmp_path / "a:b").mkdir()
    (tmp_path / "d").mkdir()
    files = [tmp_path / name for name in names]
    for file in files:
        file.touch()
    songs = list(songs_in(write_labels(tmp_path / "labels", [row_of(file) for file in files]))[1])
    write(tmp_path / "x.m3u8", "x", files, songs)
    lines = (tmp_path / "x.m3u8").read_text(encoding="utf-8").splitlines()
    assert lines[4::2] == [f"./{name}" for name in names[:4]] + names[4:]
    assert [os.path.realpath(path) for path in entries(tmp_path / "x.m3u8")] == list(map(str, files))


def written(playlist: str, file: str) -> str:
    """The one entry of a playlist that is written now."""
    (song,) = songs_in(write_labels(Path("labels"), [row_of(file)]))[1]
    write(Path(playlist), "x", [Path(file)], [song])
    return Path(playlist).read_text().splitlines()[-1]


def test_entries_stay_in_the_music_folder_where_links_in_it_lead_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, or a player in a container, has the music folder and not what is around it."""
    monkeypatch.chdir(tmp_path)
    for folder in ("disk/a", "disk/other/b", "music/lists", "music/c"):
        os.makedirs(folder)
    for file in ("disk/a/1.mp3", "disk/other/b/2.mp3", "music/c/3.mp3"):
        Path(file).touch()
    os.symlink("../disk/a", "music/a")
    os.symlink("../../disk/other/b", "music/c/b")
    os.symlink("music", "shelf")
    os.symlink("music/lists", "lists")
    assert written("music/x.m3u8", "music/a/1.mp3") == "a/1.mp3"
    assert written(str(tmp_path / "music/lists/x.m3u8"), "music/c/b/2.mp3") == "../c/b/2.mp3"
    assert written("shelf/lists/x.m3u8", "shelf/a/1.mp3") == "../a/1.mp3"
    assert written("lists/x.m3u8", "music/a/1.mp3") == "../a/1.mp3"
    assert written("music/lists/x.m3u8", "shelf/c/3.mp3") == "../c/3.mp3"
    # Without the link and what leads back, that name is none of a file.
    assert written("music/x.m3u8", "music/a/../other/b/2.mp3") == "../disk/other/b/2.mp3"


def test_a_name_with_the_end_of_a_line_has_no_entry(tmp_path: Path) -> None:
    entry_of = entries_from(tmp_path)
    assert [entry_of(f"{tmp_path}/{name}") for name in ("a\nb.mp3", "a\rb.mp3", "c.mp3")] == [
        None,
        None,
        "c.mp3",
    ]


def test_an_xspf_leads_to_files_of_every_name(tmp_path: Path) -> None:
    names = ["गीत/दिल 💔.mp3", "#1 <Hit> & 'so'.mp3", "What?.mp3", "50%20off.mp3", " b;c=d~.mp3", "a:b.mp3"]
    names += ["A #2 album/x.mp3", "plain.flac", os.fsdecode(b"caf\xe9.mp3"), "..mp3"]
    files = [tmp_path / "music" / name for name in names]
    rows = [row_of(file, artist="R&B </creator>\x1b\0", title="\ufffe\n") for file in files[:1]]
    rows += [row_of(file) for file in files[1:]]
    for lists in (tmp_path / "music", tmp_path / "lists #1"):
        lists.mkdir()
        playlist = lists / "x.xspf"
        entry_of = entries_from(lists)
        songs = list(songs_in(write_labels(lists / "labels", rows))[1])
        write_xspf(
            playlist,
            "R&B <1>",
            [(entry_of(str(file)) or "", song) for file, song in zip(files, songs, strict=True)],
        )
        root = ElementTree.parse(playlist).getroot()
        space = {"": "http://xspf.org/ns/0/"}
        assert (root.tag, root.get("version")) == ("{http://xspf.org/ns/0/}playlist", "1")
        assert root.findtext("title", namespaces=space) == "R&B <1>"
        first, *others = root.findall("trackList/track", space)
        assert [first.findtext(name, namespaces=space) for name in ("creator", "title", "duration")] == [
            "R&B </creator>\\x1b\\x00", "\\ufffe\\n", "9600",
        ]  # fmt: skip
        assert all(other.find("title", space) is None for other in others)
        locations = [track.findtext("location", "", space) for track in (first, *others)]
        assert not any(location.startswith("/") for location in locations)
        urls = [urljoin(playlist.as_uri(), location) for location in locations]
        found = [os.fsdecode(unquote_to_bytes(url.removeprefix("file://"))) for url in urls]
        assert found == [str(file) for file in files]


@pytest.mark.parametrize(
    ("entry", "is_for_vlc"),
    [
        ("a/b.mp3", True),
        ("100% a.mp3", True),
        ("%2.mp3", True),
        ("a%2f.mp3", False),
        ("#/b", False),
        ("a?", False),
    ],
)
def test_what_vlc_does_not_find_in_an_m3u8(entry: str, is_for_vlc: bool) -> None:
    assert (NOT_FOR_VLC.search(entry) is None) is is_for_vlc


def test_a_smart_playlist_asks_for_the_tags_that_are_written(tmp_path: Path) -> None:
    write_nsp(tmp_path / "a.nsp", "Happy", "happy")
    assert json.loads((tmp_path / "a.nsp").read_text()) == {
        "name": "Happy",
        "comment": "made by mer-label playlist",
        "all": [{"is": {"mood": "happy"}}],
    }
    write_nsp(tmp_path / "b.nsp", "उदास", "उदास", 0.6, 50)
    rules = json.loads((tmp_path / "b.nsp").read_text())
    assert rules["all"][0] == {"is": {"mood": "उदास"}}
    assert rules["all"][1] == {"gt": {rules["sort"]: 0.5995}}  # 0.600 in a tag is 0.6 too
    assert rules["sort"].isascii()
    assert (rules["order"], rules["limit"]) == ("desc", 50)


def test_a_journey_takes_the_nearest_that_is_left() -> None:
    shares = [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.0), (0.0, 1.0, 0.0), (0.45, 0.55, 0.0)]
    assert journey(shares, 0, 1, 3) == [0, 2, 3]
    assert journey(shares, 1, 0, 3) == [3, 2, 0]
    assert journey(shares, 0, 1, 4) == [0, 2, 4, 3]
    assert journey([], 0, 1, 3) == []


def test_songs_without_probabilities_take_no_part_in_a_journey() -> None:
    shares = [(), (1.0, 0.0), (), (0.5, 0.5), (0.0, 1.0), ()]
    assert journey(shares, 0, 1, 9) == [1, 3, 4]
    assert journey(shares, 1, 0, 2) == [4, 1]
    assert journey([(), ()], 0, 1, 3) == []


def test_a_journey_ends_with_the_song_that_is_the_most_of_its_emotion() -> None:
    """Also where steps before the last one are beyond every song, and where nothing lies between."""
    sad = [(0.3, 0.5, 0.2), (0.1, 0.6, 0.3), (0.25, 0.4, 0.35), (0.15, 0.55, 0.3)]
    shares = [(0.9, 0.0, 0.1), (0.7, 0.2, 0.1), (0.6, 0.3, 0.1), *sad]
    assert journey(shares, 0, 1, 7) == [0, 1, 2, 5, 3, 6, 4]
    apart = [(0.95, 0.05), (0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.05, 0.95)]
    assert journey(apart, 0, 1, 5) == [0, 1, 2, 3, 4]
    assert journey(apart, 1, 0, 5) == [4, 3, 2, 1, 0]


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=2, max_size=12), st.integers(2, 20))
def test_a_journey_leads_from_the_nearest_to_the_nearest(shares: list[tuple[float, ...]], count: int) -> None:
    first, *between, last = journey(shares, 0, 2, count)
    to_start, to_end = ([math.dist(each, end) for each in shares] for end in ((1, 0, 0), (0, 0, 1)))
    assert to_start[first] == pytest.approx(min(to_start))
    assert to_end[last] == pytest.approx(min(far for index, far in enumerate(to_end) if index != first))
    leads = [shares[index][2] - shares[index][0] for index in between]
    assert leads == sorted(leads)


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), max_size=12), st.integers(1, 20))
def test_a_journey_has_each_song_once(shares: list[tuple[float, ...]], count: int) -> None:
    found = journey(shares, 0, 2, count)
    assert len(found) == len(set(found)) == min(count, len(shares))


@given(st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=6))
def test_names_are_names_of_files(labels: list[str]) -> None:
    names = list(names_of_playlists(labels).values())
    assert len({name.casefold() for name in names}) == len(labels)
    for name in [*names, *(f"{start} to {end}" for start in names for end in names)]:
        assert name.strip(" .") == name != ""
        assert not set(name) & set("/\\:\0\n")
        assert len(os.fsencode(f".{name}.m3u8.0.part")) <= 255


def test_names() -> None:
    assert names_of_playlists(["happy", "Happy", "R&B/soul", "ख़ुश"]) == {
        "happy": "Happy", "Happy": "Happy 2", "R&B/soul": "R&B_soul", "ख़ुश": "ख़ुश",
    }  # fmt: skip
