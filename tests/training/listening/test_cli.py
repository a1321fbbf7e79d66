"""mer-train listen as it is called: what it says, and what kill -9 leaves."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from child_processes import rest_of_output
from click.testing import CliRunner
from labelled_files import write_files
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.training.cli import main


class _Listen:
    """The command in a process of its own; a context manager that kills it."""

    def __init__(self, folder: Path, *more: str) -> None:
        words = ["listen", "queue.csv", "--labels", "calm,गहरा", *more]
        command = [sys.executable, "-m", "merkit.training.cli", *words]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.first, self.url = self.process.stdout.readline(), self.process.stdout.readline().strip()

    def post(self, place: str, **body: object) -> dict:
        origin = re.match(r"http://[^/]*", self.url)
        assert origin
        headers = {"Origin": origin[0], "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + place, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=200) as answer:
            return json.load(answer)

    def __enter__(self) -> _Listen:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three songs and a queue of them."""
    write_files(tmp_path, a="a", गीत="b", c="c")
    (tmp_path / "queue.csv").write_text("path,artist\na.wav,A\nगीत.wav,लता\nc.wav,C\n/etc/passwd,\n")
    return tmp_path


def test_kill_9_loses_nothing_and_the_training_reads_it(folder: Path):
    with _Listen(folder) as listen:
        assert listen.first == "3 songs, 0 with a label; open in a browser on this machine:\n"
        listen.post("label", song=0, label="calm")
        listen.post("label", song=1, label="गहरा")
        listen.process.kill()
        assert listen.process.wait() == -signal.SIGKILL
    assert (folder / "heard.csv").read_text() == "path,label,artist\na.wav,calm,A\nगीत.wav,गहरा,लता\n"
    with _Listen(folder) as listen:
        assert listen.first.startswith("3 songs, 2 with a label")
        assert listen.post("label", song=2, label="calm")["song"] is None
        listen.post("finish")
        out, err = rest_of_output(listen.process)
        assert listen.process.returncode == 0
        # Not from random weights: of a listener's few songs a head on a trained network learns more.
        assert out.endswith("3 of 3 songs have a label; mer-train --data heard.csv --weights accurate\n")
        assert (
            err == "left out: /etc/passwd: neither its name nor its first bytes are those of an audio file\n"
        )
    audio = labelled_audio(folder / "heard.csv")
    assert [(clip.path.name, clip.label, clip.group) for clip in audio.clips] == [
        ("a.wav", "calm", "A"), ("गीत.wav", "गहरा", "लता"), ("c.wav", "calm", "C"),
    ]  # fmt: skip


def test_a_row_that_was_cut_short_is_said(folder: Path):
    (folder / "heard.csv").write_text("path,label,artist\na.wav,calm,A\nc.wav,ca")
    with _Listen(folder) as listen:
        assert listen.first.startswith("3 songs, 1 with a label")
        listen.post("finish")
        _, err = rest_of_output(listen.process)
        assert "heard.csv: its last row was cut short and is taken off: c.wav,ca\n" in err
    assert (folder / "heard.csv").read_text() == "path,label,artist\na.wav,calm,A\n"


def test_labels_of_the_file_that_are_not_asked_for_are_said(folder: Path):
    """Songs of an earlier queue too: a slip in --labels would be found when all is done."""
    counts = {"road rage": 3, "sad": 2, "d": 1, "e": 1, "f": 1, "g": 1, "calm": 4}
    labels = [label for label, count in counts.items() for _ in range(count)]
    rows = (f"{n}.wav,{label},\n" for n, label in enumerate(labels))
    (folder / "heard.csv").write_text("path,label,artist\n" + "".join(rows))
    with _Listen(folder) as listen:
        listen.post("finish")
        _, err = rest_of_output(listen.process)
    said = "heard.csv: 9 of its labels are not among --labels: road rage 3, sad 2, d 1, e 1, f 1, ...\n"
    assert err.endswith(said)


def test_a_label_that_the_file_spells_otherwise_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    rows = "path,label,artist\na.wav,Calm,A\n"
    (folder / "heard.csv").write_text(rows)
    result = CliRunner().invoke(main, ["listen", "queue.csv", "--labels", "calm,deep"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "heard.csv has labels of which only the spelling differs: 'calm', 'Calm'" in result.stderr
    assert (folder / "heard.csv").read_text() == rows


def test_ctrl_c_says_how_to_go_on(folder: Path):
    with _Listen(folder) as listen:
        listen.process.send_signal(signal.SIGINT)
        _, err = listen.process.communicate(timeout=200)
        assert listen.process.returncode == 130
        assert err.endswith("stopped; every key is in the file: the same command goes on there\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["queue.csv", "--labels", "calm"], 2, "names no two labels"),
     (["queue.csv", "--labels", "calm,Calm"], 2, "names a label twice"),
     (["none.csv", "--labels", "a,b"], 1, "none.csv cannot be read"),
     (["a.wav", "--labels", "a,b"], 1, "has no column 'path'"),
     (["queue.csv", "--labels", "a,b", "-o", "a.wav"], 1, "a.wav cannot be added to"),
     (["queue.csv", "--labels", "a,b", "-o", "none/l.csv"], 1, "none/l.csv cannot be written"),
     (["queue.csv"], 2, "Missing option '--labels'")],
)  # fmt: skip
def test_wrong_input_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(folder)
    before = (folder / "a.wav").read_bytes()
    result = CliRunner().invoke(main, ["listen", *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr.splitlines()[-1]
    assert (folder / "a.wav").read_bytes() == before


@pytest.mark.slow
@needs_chromium
def test_in_a_browser(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    with _Listen(folder) as listen, Browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.open(listen.url)
        browser.wait("document.getElementById('count')?.textContent === '0 of 3'")
        browser.wait("document.getElementById('audio').readyState >= 1")

        def press(key: str, count: str, code: str = "") -> None:
            browser.wait("performance.now() - shownAt > GUARD_MS")
            browser.press(key, code)
            browser.wait(f"document.getElementById('count').textContent === '{count}' && !busy")

        for key, code in (("End", "Numpad1"), ("ArrowDown", "Numpad2"), ("ArrowRight", "Numpad6")):
            press(key, "0 of 3", code)  # the number pad without NumLock
        browser.wait("document.getElementById('audio').currentTime > 0")
        press("1", "1 of 3", "Numpad1")
        assert browser.run("document.getElementById('name').textContent") == "गीत.wav"
        press("२", "2 of 3", "Digit2")  # a keyboard with other digits
        browser.press("ArrowRight")
        press("u", "1 of 3")
        assert browser.run("document.getElementById('name').textContent") == "गीत.wav"
        press("\u0947", "1 of 3", "KeyS")  # a Hindi keyboard's letter
        assert browser.run("document.getElementById('name').textContent") == "c.wav"
        # A press that slips out right after a song came is no label.
        browser.run("shownAt = performance.now() + 1e6")
        browser.press("1", "Digit1")
        browser.run("shownAt = 0")
        press("1", "2 of 3", "Digit1")
        assert browser.run("fetch('https://example.org/').then(() => 'left', () => 'stays')") == "stays"
        press("2", "3 of 3", "Digit2")
        browser.press("Enter")
        listen.process.wait(200)
    lines = (folder / "heard.csv").read_text().splitlines()
    assert lines == ["path,label,artist", "a.wav,calm,A", "c.wav,calm,C", "गीत.wav,गहरा,लता"]
