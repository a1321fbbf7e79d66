"""The page on which songs are labelled, in a real browser."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_chromium
from listening import Page
from merkit.training.listening import server
from merkit.training.listening.sound import NotItsTurnError, Sound, Sounds

pytestmark = [pytest.mark.slow, needs_chromium]
Serve = Callable[..., Page]
_NAME, _SOUND, _ERROR, _AUDIO, _UNDO = (
    f"document.getElementById('{each}')" for each in ("name", "sound", "error", "audio", "undo")
)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as tab:
        yield tab


def _open(tab: Browser, page: Page) -> None:
    tab.open(page.server.url)
    tab.wait(f"{_NAME}?.textContent")


def _press(tab: Browser, key: str, code: str, name: str) -> None:
    """Presses a key that brings the song of this name, not so soon that it is taken for a slip."""
    tab.run("new Promise((done) => setTimeout(done, 350))")
    tab.press(key, code)
    tab.wait(f"{_NAME}.textContent === {name!r}")


def test_what_is_said_is_of_the_song_that_is_shown(
    serve: Serve, tab: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bad.wma").write_bytes(b"nonsense" * 1_000)
    page = serve("bad.wma", "good.wav")
    go, answer = threading.Event(), Sounds.open

    def late(*asked: Any) -> Any:
        go.wait(60)
        return answer(*asked)

    monkeypatch.setattr(Sounds, "open", late)
    _open(tab, page)
    tab.run("""(() => {
        const real = window.fetch;
        const held = new Promise((done) => { window.release = done; });
        window.fetch = async (place, ...rest) => {
            const answer = await real(place, ...rest);
            if (!String(place).startsWith("audio/")) return answer;
            window.isHeld = true;
            await held;
            return answer;
        };
    })()""")
    go.set()
    tab.wait("window.isHeld")  # why the first song cannot be played
    _press(tab, "s", "KeyS", "good.wav")
    tab.wait(f"{_AUDIO}.ended")
    tab.run("release()")
    tab.run("new Promise((done) => setTimeout(done, 100))")
    assert tab.run(f"{_SOUND}.textContent") == ""
    _press(tab, "u", "KeyU", "bad.wma")
    tab.wait(f"{_SOUND}.textContent.endsWith(': skip it')")


def test_a_song_that_waited_for_another_tab_is_played(
    serve: Serve, tab: Browser, monkeypatch: pytest.MonkeyPatch
):
    page, answer, times = serve("a.wav"), Sounds.open, 3

    def waits(*asked: Any) -> Any:
        nonlocal times
        times -= 1
        if times >= 0:
            raise NotItsTurnError("another song was asked for meanwhile")
        return answer(*asked)

    monkeypatch.setattr(Sounds, "open", waits)
    _open(tab, page)
    tab.wait(f"{_AUDIO}.readyState >= 1 || {_SOUND}.textContent.startsWith('another song')")
    assert "skip it" not in tab.run(f"{_SOUND}.textContent")
    times = 2  # of the file, and of its sound, but not of what the page asks then
    tab.run("again = null; load(0, false)")
    tab.wait(f"{_AUDIO}.readyState >= 1")


def test_a_button_keeps_its_enter_and_what_is_over_stays_silent(serve: Serve, tab: Browser):
    page = serve("a.wav")
    _open(tab, page)
    _press(tab, "1", "Digit1", "All songs have a label.")
    tab.press(" ", "Space")
    assert tab.run(f"[{_AUDIO}.readyState, {_AUDIO}.paused]") == [0, True]
    tab.run(f"{_UNDO}.focus()")
    tab.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    tab.wait(f"{_NAME}.textContent === 'a.wav'")
    assert page.rows() == []


def test_enter_finishes(serve: Serve, tab: Browser):
    _open(tab, serve("a.wav"))
    _press(tab, "2", "Digit2", "All songs have a label.")
    tab.press("Enter", "Enter")
    tab.wait(f"{_NAME}.textContent.startsWith('Finished')")


def test_a_server_that_has_ended_is_not_a_bad_file(
    serve: Serve, tab: Browser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server._Handler, "protocol_version", "HTTP/1.0")  # no connection stays open
    page = serve("a.wav")
    _open(tab, page)
    tab.wait(f"{_AUDIO}.readyState >= 1")
    page.server.shutdown()
    page.server.server_close()
    tab.run("load(0, true)")  # of the first place the browser has all
    tab.wait(f"!{_ERROR}.hidden")
    assert "has ended" in tab.run(f"{_ERROR}.textContent")
    assert "skip it" not in tab.run(f"{_SOUND}.textContent")


def test_a_tab_of_a_server_that_was_started_anew_says_so(serve: Serve, tab: Browser):
    page = serve("a.wav")  # the same port, as over SSH, with another token
    _open(tab, page)
    page.server.token = "another"
    tab.run("new Promise((done) => setTimeout(done, 350))")
    tab.press("1", "Digit1")
    tab.wait(f"{_ERROR}.textContent.includes('has ended')")
    tab.run(f"{_ERROR}.textContent = ''")
    tab.run("load(0, true)")
    tab.wait(f"{_ERROR}.textContent.includes('has ended')")
    assert tab.run(f"{_SOUND}.textContent") == ""


def test_sound_that_was_decoded_is_not_called_bad(
    serve: Serve, tab: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A browser without a device for sound refuses every song; to skip them all helps nobody."""
    (tmp_path / "refused").write_bytes(b"nonsense" * 1_000)  # what it plays of any file

    def refused(*_: Any) -> Sound:
        return Sound(os.open(tmp_path / "refused", os.O_RDONLY), 8_000, "audio/wav")

    page = serve("a.wav")
    monkeypatch.setattr(Sounds, "open", refused)
    _open(tab, page)
    tab.wait(f"{_SOUND}.textContent.includes('connect a device for sound')")
    assert "skip" not in tab.run(f"{_SOUND}.textContent")
