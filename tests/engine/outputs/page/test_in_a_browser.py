"""The page in a real browser: filter, sort, jump, keyboard, phone, 100,000 songs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import noise
from browser import Browser, needs_chromium
from label_folders import row_of, write_labels
from merkit.engine.outputs.page.catalogue import Catalogue
from merkit.engine.outputs.page.html import html_from_catalogue, write_page
from merkit.engine.spec import QUADRANTS

pytestmark = [pytest.mark.slow, needs_chromium]
_READY = "document.documentElement?.dataset.ready"
_HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
_NAMES = """[...document.querySelectorAll("#songs .space .row")]
  .sort((a, b) => a.dataset.index - b.dataset.index).map((row) => row.querySelector("strong").textContent)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five songs, one of which can be heard, and one error."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "music").mkdir()
    heard = folder / "music" / "दिल #1 100%.wav"
    soundfile.write(heard, 0.1 * noise(30, 8_000), 8_000)
    rows = []
    for name, emotion, share, artist, title, verdict in (
        (heard.name, "sad", 0.55, "लता", "क़रार", "sure"),
        ("b.mp3", "happy", 0.95, "Beyoncé", "Zebra", "sure"),
        ("c.mp3", "tense", 0.404, "लता", _HOSTILE, "unsure"),
        ("d.mp3", "calm", 0.75, "", "", "sure"),
        ("e.mp3", None, 0.0, "Beyoncé", "Bad", ""),
    ):
        path = folder / "music" / name
        if not path.exists():
            path.write_bytes(b"no music")
        shares = [0.05, 0.05, 0.85, 0.05]
        timeline = [{"start_s": 10.0 * n, "p": p} for n, p in enumerate((shares, None, shares[::-1]))]
        row = row_of(path, emotion, share, artist=artist, title=title, duration_s=30.0, verdict=verdict)
        rows.append({**row, "windows": timeline} if emotion else {**row, "error": "bad [file]"})
    write_page(write_labels(folder / "labels", rows, window_s=10.0), folder / "catalogue.html")
    return folder / "catalogue.html"


@pytest.fixture
def apart(tab: Browser, tmp_path: Path) -> Browser:
    """The page of a song of which 4 s at 5, 15 and 25 s were heard, the middle ones silent, and of a URL."""
    heard = tmp_path / "a.wav"
    soundfile.write(heard, 0.1 * noise(30, 8_000), 8_000)
    shares = [0.05, 0.05, 0.85, 0.05]
    windows = [{"start_s": 5.0 + 10 * n, "p": p} for n, p in enumerate((shares, None, shares[::-1]))]
    rows = [
        row_of(path, "sad", share, title=title, duration_s=30.0, windows=windows)
        for path, share, title in ((heard, 0.5, "Near"), ("https://example.org/b.mp3", 0.6, "Far"))
    ]
    page = tmp_path / "apart.html"
    write_page(write_labels(tmp_path / "labels", rows, window_s=4.0), page)
    tab.errors.clear()
    tab.open(page.as_uri())
    tab.wait(f"document.title === 'labels' && {_READY} && {_NAMES}.includes('Near')")
    return tab


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("profile")
    with Browser(profile, 1_300, 900) as tab:
        yield tab
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def opened(tab: Browser, page: Path) -> Browser:
    tab.errors.clear()
    tab.open(page.as_uri())
    tab.wait(_READY)
    return tab


def names(tab: Browser) -> list[str]:
    return tab.run(_NAMES)


def search(tab: Browser, text: str) -> list[str]:
    change(tab, "#search", text, "input")
    tab.run("new Promise((done) => setTimeout(done, 250))")  # it waits for the next key
    return names(tab)


def change(tab: Browser, selector: str, value: object, event: str) -> None:
    tab.run(
        f"(() => {{ const each = document.querySelector({selector!r}); each.value = {value!r}; "
        f"each.dispatchEvent(new Event({event!r})); }})()"
    )


def click(tab: Browser, selector: str) -> None:
    tab.run(f"document.querySelector({selector!r}).click()")


def test_the_least_certain_stand_first_and_nothing_is_refused(opened: Browser) -> None:
    assert names(opened) == [_HOSTILE, "क़रार", "d.mp3", "Zebra", "Bad"]
    assert opened.run("document.title") == "labels"
    assert opened.errors == []
    assert "bad [file]" in opened.run("document.querySelector('#songs .space').textContent")


def test_a_share_is_as_many_percent_as_the_confidence(opened: Browser) -> None:
    """Shares have 250 steps, and confidence 10,000: 90.6 % was 91 % in one place and 90 % in another."""
    text = """(() => {
        const about = { songs: 1, labels: ["happy", "sad"], none: 255, shares: 250, confidence: 10000 };
        const catalogue = new Catalogue({
            about, cells: [0], starts: [], emotion: [0], confidence: [9060], p0: [226], p1: [24] });
        return catalogue.sharesText(0);
    })()"""
    assert opened.run(text).replace("\xa0", " ") == "happy 91 %, sad 10 %"


def test_search_takes_titles_as_people_type_them(opened: Browser) -> None:
    assert search(opened, "करार") == ["क़रार"]  # without the dot
    assert search(opened, "लता दिल") == ["क़रार"]  # two words, of artist and file
    assert search(opened, "BEYONCE") == ["Zebra", "Bad"]
    assert search(opened, "nothing at all") == []
    assert opened.run("document.querySelector('#result').textContent").startswith("0 of 5 songs")
    click(opened, "#reset")
    assert len(names(opened)) == 5


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("क्या", "क्\u200dया"),
        ("क्\u200cया", "क्या"),
        ("softhyphen", "soft\u00adhyphen"),
        ("tum hi", "tum\u200b \ufeffhi"),
        ("हूं", "हूँ"),
        ("हूँ", "हूं"),
        ("करार", "क़रार"),
        ("beyonce", "BEYONCÉ"),
        ("heart ❤", "heart ❤\ufe0f"),
        ("strasse", "Straße"),
        ("STRAẞE", "straße"),
        ("lona", "Łona"),
        ("mo", "Mø"),
        ("dorde", "Đorđe"),
        ("aenima", "Ænima"),
        ("oeuvre", "ŒUVRE"),
        ("med thu", "Með þú"),
        ("οδοσ", "ΟΔΟΣ"),  # as it stands there while more is typed
    ],
)
def test_search_takes_what_looks_the_same(opened: Browser, typed: str, written: str) -> None:
    assert opened.run(f"folded({typed!r}) === folded({written!r})")
    assert not opened.run("folded('कि') === folded('की')")


def test_filters(opened: Browser) -> None:
    click(opened, "#emotions button:nth-child(1)")
    assert names(opened) == ["Zebra"]
    click(opened, "#emotions button:nth-child(3)")
    assert names(opened) == ["क़रार", "Zebra"]
    click(opened, "#reset")
    change(opened, "#verdict", "unsure", "change")
    assert names(opened) == [_HOSTILE]
    click(opened, "#reset")
    change(opened, "#limit", 60, "input")
    assert names(opened) == [_HOSTILE, "क़रार"]
    change(opened, "#limit", 55, "input")
    assert names(opened) == [_HOSTILE, "क़रार"]  # one is 55 % sure, which 100 * 0.55 is not in binary numbers
    change(opened, "#limit", 40, "input")
    assert names(opened) == [_HOSTILE]  # 40.4, which the table shows as 40 %
    change(opened, "#limit", 39, "input")
    assert names(opened) == []
    click(opened, "#reset")
    groups = (
        "[...document.querySelectorAll('#groups .row')].map((row) => row.querySelector('span').textContent)"
    )
    assert opened.run(groups) == ["Beyoncé", "लता", "unknown"]
    click(opened, "#groups .row:nth-child(2)")
    assert names(opened) == [_HOSTILE, "क़रार"]
    click(opened, "#groups .row:nth-child(3)")
    assert opened.run("document.querySelector('#chosen').textContent") == "artist unknown"


def test_orders(opened: Browser) -> None:
    click(opened, ".heads .c-song button")
    assert names(opened) == [_HOSTILE, "Bad", "d.mp3", "Zebra", "क़रार"]
    assert opened.run("document.querySelector('.heads .c-song').getAttribute('aria-sort')") == "ascending"
    click(opened, ".heads .c-song button")
    assert names(opened) == ["क़रार", "Zebra", "d.mp3", "Bad", _HOSTILE]
    click(opened, ".heads .c-artist button")
    assert names(opened)[-1] == "d.mp3"  # what has none stands last
    click(opened, ".heads .c-artist button")
    assert names(opened)[-1] == "d.mp3"


def test_the_plane_keeps_a_box(opened: Browser) -> None:
    box = opened.run("document.querySelector('#plane').getBoundingClientRect().toJSON()")
    left, top, width, height = (box[name] for name in ("left", "top", "width", "height"))
    opened.drag(left + 0.55 * width, top + 0.02 * height, left + 0.98 * width, top + 0.45 * height)
    assert names(opened) == ["Zebra"]  # up and right is happy


def test_the_player_jumps_to_a_window(opened: Browser) -> None:
    opened.run("document.querySelector('#songs').focus()")
    opened.press("ArrowDown")
    opened.press("ArrowDown")
    opened.press("Enter")
    audio = "document.querySelector('#audio')"
    opened.wait(f"{audio}.currentTime > 0 && !{audio}.paused")
    opened.run(f"{audio}.playbackRate = 0.1")  # so that it stays in its window, however slow the machine
    source = opened.run(f"{audio}.getAttribute('src')")
    assert source == "music/%E0%A4%A6%E0%A4%BF%E0%A4%B2%20%231%20100%25.wav"
    opened.press("ArrowRight")
    opened.wait(f"{audio}.currentTime >= 10")
    assert "silent" in opened.run("document.querySelector('#now-text').textContent")
    change(opened, "#now-window", 2, "input")
    opened.wait(f"{audio}.currentTime >= 20")
    text = opened.run("document.querySelector('#now-window').getAttribute('aria-valuetext')")
    assert text.startswith("0:20 to 0:30: tense 8")
    opened.press("Escape")
    assert opened.run("document.querySelector('#player').hidden")
    opened.run(f"{audio}.dispatchEvent(new Event('timeupdate'))")  # which may be on its way then
    assert "NaN" not in opened.run("document.querySelector('#now-text').textContent")
    assert opened.errors == []


def test_a_window_ends_where_it_was_no_longer_heard(apart: Browser) -> None:
    audio, text = "document.querySelector('#audio')", "document.querySelector('#now-text').textContent"
    slider = "document.querySelector('#now-window')"
    apart.run("document.querySelector('#songs').focus()")
    for key in ("ArrowDown", "Enter"):
        apart.press(key)
    apart.wait(f"{audio}.currentTime > 0 && !{audio}.paused")
    apart.run(f"{audio}.playbackRate = 0.1")
    assert apart.run(text).startswith("Outside the windows that were heard. The song: sad 50")
    shares = ": sad 86 %, happy 6 %, tense 6 %, calm 6 %. The song"
    for key, at, said in (
        ("ArrowRight", 5, f"0:05 to 0:09{shares}"),  # the first, not the second
        ("", 10, "Outside"),
        ("ArrowLeft", 5, "0:05"),
        ("", 12, "Outside"),
        ("ArrowRight", 15, "0:15 to 0:19: silent"),
        ("", 29.5, "Outside"),
        ("ArrowRight", 25, "0:25 to 0:29: tense"),
    ):
        if key:
            apart.press(key)
        else:
            apart.run(f"{audio}.currentTime = {at}")
        apart.wait(f"{audio}.currentTime >= {at} && {audio}.currentTime < {at} + 2")
        apart.wait(f"{text}.replaceAll('\xa0', ' ').startsWith({said!r})")
        assert apart.run(f"{slider}.getAttribute('aria-valuetext')") in apart.run(text)
    assert apart.run(f"{slider}.value") == "2"


def test_what_is_spoken_is_asked_for(apart: Browser) -> None:
    audio, text = "document.querySelector('#audio')", "document.querySelector('#now-text')"
    live = f"{text}.getAttribute('aria-live')"
    apart.run("document.querySelector('#songs').focus()")
    for key in ("ArrowDown", "ArrowRight"):
        apart.press(key)
    apart.wait(f"{audio}.currentTime >= 5")
    assert apart.run(live) == "polite"
    apart.run(f"{audio}.currentTime = 10")
    apart.wait(f"{text}.textContent.startsWith('Outside')")
    assert apart.run(live) == "off"


def test_windows_of_what_cannot_be_played_are_shown(apart: Browser) -> None:
    text = "document.querySelector('#now-text').textContent"
    apart.run("document.querySelector('#songs').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter", "ArrowRight"):
        apart.press(key)
    assert apart.run(text).startswith("0:05 to 0:09: sad 8")
    assert apart.run(text).endswith("cannot be played from this page.")
    change(apart, "#now-window", 1, "input")
    assert apart.run(text).startswith("0:15 to 0:19: silent. The song: sad 60")
    apart.press("ArrowRight")
    assert apart.run(text).startswith("0:25 to 0:29: tense 8")
    assert apart.run("document.querySelector('#now-window').value") == "2"
    assert apart.errors == []


def test_a_song_that_cannot_be_played_silences_the_last_one(opened: Browser) -> None:
    opened.run("document.querySelector('#songs').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        opened.press(key)
    audio = "document.querySelector('#audio')"
    opened.wait(f"{audio}.currentTime > 0 && !{audio}.paused")
    opened.run("Catalogue.prototype.href = () => null")
    for key in ("ArrowDown", "Enter"):
        opened.press(key)
    opened.wait("document.querySelector('#now-text').textContent.includes('cannot be played from this page')")
    assert opened.run(f"{audio}.paused")


def test_what_a_browser_cannot_play_is_said(opened: Browser) -> None:
    opened.run("document.querySelector('#songs').focus()")
    opened.press("ArrowDown")
    opened.press("Enter")
    text = "document.querySelector('#now-text').textContent"
    opened.wait(f"{text}.startsWith('This browser cannot play music/c.mp3')")
    assert "0:00 to 0:10: sad 8" in opened.run(text)
    opened.press("ArrowRight")  # its windows are shown all the same
    opened.wait(f"/^This browser cannot play .*0:10 to 0:20: silent/.test({text})")
    opened.run("window.tries = 0; document.querySelector('#audio').addEventListener('error', () => tries++)")
    opened.press("Enter")
    opened.wait(f"tries && {text}.startsWith('This browser cannot play')")


def test_a_sound_that_breaks_off_or_has_no_device_is_no_unknown_format(opened: Browser) -> None:
    """As in Firefox without a device: the song goes on, without sound."""
    opened.run("document.querySelector('#songs').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        opened.press(key)
    opened.wait("document.querySelector('#audio').currentTime > 0")
    opened.run("""(() => {
      const audio = document.querySelector("#audio");
      Object.defineProperty(audio, "error", { value: { code: 3, message: "OnMediaSinkAudioError" } });
      audio.dispatchEvent(new Event("error"));
    })()""")
    text = opened.run("document.querySelector('#now-text').textContent")
    assert text.startswith("This browser cannot go on with music/दिल #1 100%.wav: the file is damaged or ")
    assert "(OnMediaSinkAudioError)" in text


def test_screen_readers_get_names(opened: Browser) -> None:
    unnamed = """[...document.querySelectorAll(
        "button, input, select, [role=grid], [role=listbox], canvas, audio")]
      .filter((each) => each.offsetParent && !each.closest("[aria-hidden]"))
      .filter((each) => !(each.textContent.trim() || each.labels?.length ||
        ["aria-label", "aria-labelledby"].some((name) => each.getAttribute(name))))
      .map((each) => each.outerHTML)"""
    assert opened.run(unnamed) == []
    assert opened.run("document.querySelector('#songs').getAttribute('aria-rowcount')") == "6"
    opened.run("document.querySelector('#songs').focus()")
    opened.press("End")
    current = (
        "document.getElementById(document.querySelector('#songs').getAttribute('aria-activedescendant'))"
    )
    assert opened.run(f"{current}.getAttribute('aria-rowindex')") == "6"
    assert opened.run(f"{current}.getAttribute('aria-selected')") == "true"


def test_slash_searches_and_the_theme_turns(opened: Browser) -> None:
    opened.press("/")
    assert opened.run("document.activeElement.id") == "search"
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.run(paper)
    click(opened, "#theme")
    assert opened.run(paper) != light


@pytest.mark.parametrize("width", [1440, 1000, 380])
@pytest.mark.parametrize("scrollbar", ["over the rows", "beside them"])
def test_heads_stand_above_their_columns(page: Path, tmp_path: Path, width: int, scrollbar: str) -> None:
    with Browser(tmp_path / "profile", width, 900) as tab:
        if scrollbar == "over the rows":  # as in Firefox, Safari and on phones
            tab.send("Emulation.setScrollbarsHidden", hidden=True)
        tab.open(page.as_uri())
        tab.wait(_READY)
        edges = """[...document.querySelectorAll('%s > .cell')].filter((each) => each.offsetParent)
          .map((each) => each.getBoundingClientRect()).flatMap(({left, right}) => [left, right])"""
        assert tab.run(edges % "#heads") == tab.run(edges % "#songs .space .row:first-child")
        widths = """[...document.querySelectorAll('.heads .cell')]
          .map((each) => [each.scrollWidth, each.clientWidth])"""
        assert all(needed <= there for needed, there in tab.run(widths))


def test_a_phone(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile", 380, 800, dark=True) as tab:
        tab.open(page.as_uri())
        tab.wait(_READY)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.run("innerWidth") == 380
        assert len(names(tab)) == 5


def a_catalogue(songs: int, cells: int) -> Catalogue:
    """A large one, of made-up numbers, as ``catalogue_from_folder`` makes them."""
    random = np.random.default_rng(0)

    def whole(most: int, size: int, kind: Any) -> Any:
        return random.integers(0, most, size).astype(kind)

    shares = random.dirichlet([0.7] * 4, songs)
    windows = random.dirichlet([0.7] * 4, songs * cells)
    words = ["love", "night", "तेरे", "बिना", "दिल", "river", "रात", "मेरा", "dance", "जाने"]
    artists = [f"{words[n % 10].title()} {words[n % 7]} {n}" for n in range(songs // 12)]
    titles = [" ".join(words[i] for i in three) for three in random.integers(0, 10, (songs, 3))]
    columns: dict[str, Any] = {
        "title": [f"{title} {n}" for n, title in enumerate(titles)],
        "file": [f"{n:06}.mp3" for n in range(songs)],
        "emotion": shares.argmax(axis=1).astype(np.uint8),
        "confidence": np.round(1e4 * shares.max(axis=1)).astype(np.uint16),
        "tenths": whole(3_000, songs, np.uint32) + 1_000,
        "cells": np.full(songs, cells, np.uint16),
        "lengths": np.full(songs, 100, np.uint16),
        "starts": np.tile(np.array([0] + [100] * (cells - 1), np.uint32), songs),
        "link": np.zeros(songs, np.uint8),
        "artistNames": ["", *artists], "albumNames": ["", *artists], "folderNames": ["", *artists],
        "errorNames": [""], "verdictNames": [""],
    }  # fmt: skip
    for name in ("artist", "album", "folder"):
        columns[name] = whole(len(artists) + 1, songs, np.uint32)
    for name in ("error", "verdict"):
        columns[name] = np.zeros(songs, np.uint32)
    for label in range(4):
        columns[f"p{label}"] = np.round(250 * shares[:, label]).astype(np.uint8)
        columns[f"levels{label}"] = np.round(50 * windows[:, label]).astype(np.uint8)
    about = {
        "labels": list(QUADRANTS), "isPlane": True, "levels": 50, "silent": 255, "none": 255, "shares": 250,
        "confidence": 10_000, "songs": songs, "models": [], "verdicts": [],
    }  # fmt: skip
    return Catalogue(about, columns, songs, 0, 0)


@pytest.fixture
def longer(tab: Browser, tmp_path: Path) -> Browser:
    """The page of 400 songs that lie beside it."""
    catalogue = a_catalogue(400, 3)
    catalogue.columns["folder"] = np.zeros(400, np.uint32)
    page = tmp_path / "longer.html"
    page.write_text(html_from_catalogue(catalogue, "longer"), encoding="utf-8")
    tab.errors.clear()
    tab.open(page.as_uri())
    tab.wait(f"document.title === 'longer' && {_READY}")
    return tab


def test_what_is_found_or_sorted_begins_at_its_top_also_while_a_song_is_open(longer: Browser) -> None:
    top = "document.querySelector('#songs .scroller').scrollTop"
    click(longer, "#songs .space .row")
    longer.run(f"{top} = 5000")
    assert len(search(longer, "love")) > 5
    assert longer.run(top) == 0
    search(longer, "")
    longer.run(f"{top} = 5000")
    click(longer, ".heads .c-song button")
    assert longer.run(top) == 0


def test_groups_stay_where_they_are_while_one_is_chosen(longer: Browser) -> None:
    top = "document.querySelector('#groups .scroller').scrollTop"
    longer.run(f"{top} = 300")
    assert longer.run(top) == 300
    for _ in range(2):
        click(longer, "#groups .space .row:last-child")
        assert longer.run(top) == 300


def test_the_keyboard_stays_at_a_group_whose_choice_is_taken_back(longer: Browser) -> None:
    current = "document.querySelector('#groups .row.current')?.dataset.index"  # drawn with the next frame
    longer.run("document.querySelector('#groups').focus()")
    for key in (*["ArrowDown"] * 12, "Enter", "Enter"):
        longer.press(key)
    assert longer.run("document.querySelector('#chosen').textContent") == ""
    longer.wait(f"{current} === '11'")
    longer.press("ArrowDown")
    longer.wait(f"{current} === '12'")


def test_songs_beside_the_page_are_in_a_folder_of_one_name(longer: Browser) -> None:
    change(longer, "#kind", "folder", "change")
    row = "document.querySelector('#groups .row')"
    assert longer.run(f"{row}.querySelector('span').textContent") == "."
    assert longer.run(f"{row}.getAttribute('aria-label')").startswith("., 400 songs: ")
    click(longer, "#groups .row")
    assert longer.run("document.querySelector('#chosen').textContent") == "folder ."


def test_keys_of_the_browser_are_left_to_it(longer: Browser) -> None:
    click(longer, "#songs .space .row")
    is_taken = """(() => {{
        const event = new KeyboardEvent("keydown", {{ key: "{}", altKey: {}, bubbles: true, cancelable: 1 }});
        document.querySelector("#songs").dispatchEvent(event);
        return event.defaultPrevented;
    }})()"""
    window = "document.querySelector('#now-text').textContent"
    for key in ("ArrowRight", "ArrowLeft", "ArrowDown", "/"):
        before = longer.run(window)
        assert not longer.run(is_taken.format(key, "true"))
        assert longer.run(window) == before
        assert longer.run(is_taken.format(key, "false"))


def test_paper_has_every_song_on_light_colours_wherever_the_table_stands(longer: Browser) -> None:
    rows, root = "[...document.querySelectorAll('#songs .space .row')]", "document.documentElement.dataset"
    click(longer, "#theme")
    theme = longer.run(f"{root}.theme")
    longer.run("document.querySelector('#songs .scroller').scrollTop = 1e7")
    longer.wait(f"{rows}.some((row) => row.dataset.index === '399')")
    top = longer.run("document.querySelector('#songs .scroller').scrollTop")
    longer.send("Emulation.setEmulatedMedia", media="print")
    longer.run("dispatchEvent(new Event('beforeprint'))")
    heights = f"{rows}.map((row) => row.getBoundingClientRect().top)"
    assert longer.run(f"{rows}.map((row) => Number(row.dataset.index))") == list(range(400))
    assert longer.run(heights) == sorted({*longer.run(heights)})  # one below the other, none hidden
    assert longer.run("document.querySelector('#songs').getBoundingClientRect().height") > 400 * 48
    assert longer.run(f"{root}.theme") == "light"
    longer.send("Emulation.setEmulatedMedia", media="")
    longer.run("dispatchEvent(new Event('afterprint'))")
    longer.wait(f"{rows}.length < 60 && {rows}.some((row) => row.dataset.index === '399')")
    assert longer.run("document.querySelector('#songs .scroller').scrollTop") == top
    assert longer.run(f"{root}.theme") == theme
    assert longer.errors == []


def test_strips_are_drawn_anew_in_another_width(tab: Browser, longer: Browser) -> None:
    widths = "[...document.querySelectorAll('#songs .space canvas, #groups .space canvas')]"
    are_sharp = f"{widths}.every((each) => each.width === Math.round(each.getBoundingClientRect().width))"
    assert longer.run(are_sharp)
    size = {"height": 900, "deviceScaleFactor": 1, "mobile": False}
    try:
        for width in (2_200, 1_000):
            longer.send("Emulation.setDeviceMetricsOverride", width=width, **size)
            longer.wait(f"innerWidth === {width} && {are_sharp}")
    finally:
        longer.send("Emulation.setDeviceMetricsOverride", width=1_300, **size)


def test_the_current_window_has_a_frame_where_it_is_silent(longer: Browser) -> None:
    click(longer, "#songs .space .row")
    draws = """((current) => {
        const strip = document.querySelector("#now-strip");
        const catalogue = new Catalogue({
            about: { songs: 1, labels: ["a", "b"], none: 255, levels: 50, silent: 255 },
            cells: [2], starts: [0, 100], levels0: [255, 50], levels1: [255, 0] });
        drawStrip(strip, catalogue, 0, current);
        return strip.toDataURL();
    })"""
    assert len({longer.run(f"{draws}({current})") for current in (-1, 0, 1)}) == 3


def test_controls_begin_anew_when_one_comes_back(opened: Browser) -> None:
    for selector, value, event in (
        ("#limit", 60, "input"),
        ("#kind", "album", "change"),
        ("#order", "song 1", "change"),
        ("#verdict", "unsure", "change"),
    ):
        change(opened, selector, value, event)
    opened.open("about:blank")
    opened.wait("location.href === 'about:blank'")
    history = opened.send("Page.getNavigationHistory")
    before = history["entries"][history["currentIndex"] - 1]["id"]
    opened.send("Page.navigateToHistoryEntry", entryId=before)
    opened.wait(f"{_READY}")
    values = "['limit', 'kind', 'order', 'verdict'].map((id) => document.getElementById(id).value)"
    assert opened.run(values) == ["100", "artist", "sure 1", ""]
    assert len(names(opened)) == 5


def test_more_songs_than_a_browser_has_room_for(tmp_path: Path) -> None:
    """Rows beyond 17.9 million px cannot be shown by Firefox, and beyond 33.5 million by Chromium."""
    count = 800_000
    page = tmp_path / "larger.html"
    page.write_text(html_from_catalogue(a_catalogue(count, 1), "larger"), encoding="utf-8")
    indices = "[...document.querySelectorAll('#songs .space .row')].map((row) => Number(row.dataset.index))"
    in_sight = """[...document.querySelectorAll('#songs .space .row')].filter((row) => {
        const seen = document.querySelector('#songs .scroller').getBoundingClientRect();
        const own = row.getBoundingClientRect();
        return own.top >= seen.top - 1 && own.bottom <= seen.bottom + 1;
    }).map((row) => Number(row.dataset.index))"""
    event = "new KeyboardEvent('keydown', {{ key: '{}', bubbles: true }})"
    key = f"document.querySelector('#songs').dispatchEvent({event})"
    with Browser(tmp_path / "profile", 1_300, 900) as tab:
        tab.open(page.as_uri())
        tab.wait(_READY)
        assert tab.run("document.querySelector('#songs .space').offsetHeight") < 17.8e6
        tab.run("document.querySelector('#songs .scroller').scrollTop = 1e9")
        tab.wait(f"{indices}.includes({count - 1})")
        assert count - 1 in tab.run(in_sight)
        tab.run(key.format("Home"))
        tab.wait(f"{indices}.includes(0)")
        assert 0 in tab.run(in_sight)
        tab.run(key.format("End"))
        tab.wait(f"{indices}.includes({count - 1})")
        for _ in range(30):
            tab.run(key.format("ArrowUp"))
        tab.wait(f"{in_sight}.includes({count - 31})")


def test_100_000_songs(tmp_path: Path) -> None:
    """CPU seconds, not wall: other work on the machine must not fail it."""
    catalogue = a_catalogue(100_000, 24)
    page = tmp_path / "large.html"
    page.write_text(html_from_catalogue(catalogue, "large"), encoding="utf-8")
    assert page.stat().st_size < 40e6
    last = "[...document.querySelectorAll('#songs .space .row')].some((row) => row.dataset.index === '99999')"
    with Browser(tmp_path / "profile", 1_300, 900) as tab:
        tab.open(page.as_uri())
        tab.wait(_READY)
        opened_s = tab.cpu_seconds()
        assert opened_s < 3
        assert tab.run("document.querySelectorAll('#songs .space .row').length") < 60
        tab.run("document.querySelector('#songs .scroller').scrollTop = 1e7")
        tab.wait(last)
        click(tab, ".heads .c-song button")
        result = tab.run("document.querySelector('#result').textContent")
        assert result == "100,000 of 100,000 songs, song, A to Z"
        title = catalogue.columns["title"][99_123]
        assert title in search(tab, title)
        assert tab.cpu_seconds() - opened_s < 6
        search(tab, "")
        tab.run("dispatchEvent(new Event('beforeprint'))")
        assert tab.run("document.querySelectorAll('#songs .space .row').length") == 500
        assert tab.run("document.querySelector('#printed').textContent") == "Printed: the first 500"
