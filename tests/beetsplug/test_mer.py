"""beets' own library and command, with the plugin in it."""

from __future__ import annotations

import importlib.util
import optparse
import os
import subprocess
import sys
import threading
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audio_files import noise, write_audio
from merkit.engine.artifact import DEFAULT_MODEL, open_artifact
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.outputs.tagging import moods
from merkit.engine.outputs.tagging.moods import read_moods, write_moods
from merkit.engine.spec import QUADRANTS

if importlib.util.find_spec("beets") is None:
    pytest.skip("beets is not installed", allow_module_level=True)

import beets
import mutagen
from beets import ui
from beets.library import Item, Library

import beetsplug
from beetsplug import mer
from beetsplug.mer import MerPlugin

ROOT = Path(__file__).parents[2]


class FakeLabeler:
    """Labels files by the first word of their names; counts how often it was asked.

    It takes paths in another thread, as a real one does: there beets does not know where its folder is.
    """

    labels = QUADRANTS

    def __init__(self) -> None:
        self.calls, self.closed = 0, False

    def label_files(self, paths: Iterable[str]) -> Iterator[SongLabel]:
        self.calls += 1
        taken: list[str] = []
        thread = threading.Thread(target=lambda: taken.extend(paths))
        thread.start()
        thread.join()
        for path in taken:
            if not Path(path).is_file():
                yield SongLabel(path, "no such file")
                continue
            word = Path(path).stem.split()[0]
            if word == "broken":
                yield SongLabel(path, "not an audio file")
            elif word in ("silence", "not_music"):
                shares = () if word == "silence" else (0.25,) * 4
                yield SongLabel(path, verdict=word, probabilities=shares)  # pyright: ignore[reportArgumentType]
            else:
                emotion = word.removeprefix("perhaps-")
                shares = tuple(0.7 if label == emotion else 0.1 for label in QUADRANTS)
                yield SongLabel(
                    path,
                    emotion=emotion,
                    probabilities=shares,
                    verdict="unsure" if word.startswith("perhaps-") else "sure",
                )

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MerPlugin:
    monkeypatch.setenv("BEETSDIR", str(tmp_path / "beets"))
    beets.config.clear()
    beets.config.read(user=False)
    beets.config["create_backup_before_migrations"] = False  # of ":memory:", in the working directory
    made = MerPlugin()
    made._labeler = FakeLabeler()  # pyright: ignore[reportAttributeAccessIssue]
    # As "beet" connects it.
    monkeypatch.setattr(Item, "_types", made.item_types)
    listeners = defaultdict(list, after_write=[made._write_tags])
    monkeypatch.setattr(mer.BeetsPlugin, "listeners", listeners)
    return made


@pytest.fixture
def library(plugin: MerPlugin, tmp_path: Path) -> Iterator[Library]:
    made = Library(":memory:", str(tmp_path))
    yield made
    made._close()


def added(library: Library, path: Path, mood: str | None = None) -> Item:
    rate = 48_000 if path.suffix == ".opus" else 22_050
    write_audio(path, noise(0.2, rate), rate)
    if mood:
        write_moods(path, {"MOOD": mood})
    item = Item.from_path(str(path))
    item.title = path.stem
    item.add(library)
    return item


def beet_mer(plugin: MerPlugin, library: Library, *arguments: str) -> None:
    (command,) = plugin.commands()
    options, rest = command.parse_args(list(arguments))
    assert isinstance(options, optparse.Values)
    command.func(library, options, rest)


def test_the_namespace_stays_shared() -> None:
    assert isinstance(beetsplug, types.ModuleType)
    assert beetsplug.__file__ is None  # an __init__.py would hide beets' own plugins
    assert importlib.util.find_spec("beetsplug.lyrics")


def test_labels_of_the_default_model() -> None:
    assert open_artifact(DEFAULT_MODEL).spec.labels == mer._LABELS


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a", ".opus", ".ogg", ".wma", ".aiff", ".wav"])
def test_fields_and_tags(plugin: MerPlugin, library: Library, tmp_path: Path, suffix: str) -> None:
    item = added(library, tmp_path / f"sad दिल{suffix}")
    beet_mer(plugin, library)
    item.load()
    assert (item.mood, item.mer_verdict) == ("sad", "sure")
    assert (item.mer_sad, item.mer_happy, item.mer_confidence) == (0.7, 0.1, 0.7)
    assert read_moods(tmp_path / f"sad दिल{suffix}") == {
        "MOOD": "sad",
        "MER_HAPPY": "0.100",
        "MER_TENSE": "0.100",
        "MER_SAD": "0.700",
        "MER_CALM": "0.100",
    }
    assert item.mtime == item.current_mtime()  # "beet update" reads nothing again
    assert mutagen.File(tmp_path / f"sad दिल{suffix}", easy=suffix == ".mp3")  # pyright: ignore[reportPrivateImportUsage]


def test_ranges_are_of_numbers(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    added(library, tmp_path / "sad a.flac")
    added(library, tmp_path / "calm b.flac")
    beet_mer(plugin, library)
    assert [item.mood for item in library.items("mer_sad:0.55..0.9")] == ["sad"]
    assert [item.mood for item in library.items("mood:calm")] == ["calm"]


def test_id3v23_has_no_frame_for_moods(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    beets.config["id3v23"] = True
    added(library, tmp_path / "sad a.mp3")
    beet_mer(plugin, library)
    from mutagen.id3 import ID3

    tags: Any = ID3(tmp_path / "sad a.mp3", translate=False)
    assert tags.version == (2, 3, 0)
    assert tags["TXXX:MOOD"].text == ["sad"]
    assert "TMOO" not in tags


def test_what_is_done_is_skipped(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    item = added(library, tmp_path / "happy a.flac")
    beet_mer(plugin, library)
    beet_mer(plugin, library)
    labeler: Any = plugin._labeler
    assert labeler.calls == 1
    assert labeler.closed
    item["mer_old_label"] = 0.9
    item["mood"] = "old_label"
    item.store()
    beet_mer(plugin, library, "--force")
    item.load()
    assert labeler.calls == 2
    assert item.mood == "happy"
    assert "mer_old_label" not in item


@pytest.mark.parametrize(
    ("name", "verdict"), [("perhaps-sad", "unsure"), ("silence", "silence"), ("not_music", "not_music")]
)
def test_no_mood_where_there_is_none(
    plugin: MerPlugin, library: Library, tmp_path: Path, name: str, verdict: str
) -> None:
    item = added(library, tmp_path / f"{name} x.flac")
    beet_mer(plugin, library)
    item.load()
    assert item.mer_verdict == verdict
    assert "mood" not in item
    assert read_moods(tmp_path / f"{name} x.flac") == {}
    beets.config["mer"]["unsure"] = True
    beet_mer(plugin, library, "-f")
    item.load()
    assert item.get("mood") == ("sad" if verdict == "unsure" else None)


def test_a_mood_that_is_not_sure_any_more_goes(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    item = added(library, tmp_path / "sad x.flac")
    beet_mer(plugin, library)
    (tmp_path / "sad x.flac").rename(tmp_path / "perhaps-sad x.flac")
    item.load()
    item["path"] = os.fsencode(tmp_path / "perhaps-sad x.flac")
    item.store()
    beet_mer(plugin, library, "-f")
    item.load()
    assert "mood" not in item
    assert read_moods(tmp_path / "perhaps-sad x.flac") == {}


def test_moods_from_elsewhere_stay(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    in_file = added(library, tmp_path / "sad a.mp3", mood="Rainy day")
    in_library = added(library, tmp_path / "sad b.mp3")
    in_library["mood"] = "Monday"
    in_library.store()
    unsure = added(library, tmp_path / "perhaps-sad c.mp3", mood="Rainy day")
    beet_mer(plugin, library)
    for item, mood in ((in_file, "Rainy day"), (in_library, "Monday"), (unsure, "Rainy day")):
        item.load()
        assert (item.mood, item.mer_sad) == (mood, 0.7)
    assert read_moods(tmp_path / "sad a.mp3") == {"MOOD": "Rainy day"}
    beet_mer(plugin, library, "--force")
    for item, mood in ((in_file, "sad"), (in_library, "sad"), (unsure, "Rainy day")):
        item.load()
        assert item.mood == mood
    assert read_moods(tmp_path / "sad a.mp3")["MOOD"] == "sad"
    assert read_moods(tmp_path / "perhaps-sad c.mp3") == {"MOOD": "Rainy day"}


@pytest.mark.parametrize("mood", ["sad", "calm", "Sad"])
def test_a_mood_from_elsewhere_may_be_a_label(
    plugin: MerPlugin, library: Library, tmp_path: Path, mood: str
) -> None:
    """Of another program, or set by hand: before the song is labelled and after that."""
    in_file = added(library, tmp_path / "sad a.flac", mood=mood)
    in_library = added(library, tmp_path / "sad b.flac")
    in_library["mood"] = mood
    in_library.store()
    beet_mer(plugin, library)
    for item in (in_file, in_library):
        item.load()
        assert (item.mood, item.mer_mood, item.mer_sad) == (mood, "", 0.7)
        item.try_write()
    assert read_moods(tmp_path / "sad a.flac") == {"MOOD": mood}
    assert read_moods(tmp_path / "sad b.flac") == {}
    for item in (in_file, in_library):
        item["path"] = os.fsencode(
            Path(os.fsdecode(item.path)).rename(tmp_path / f"perhaps-sad {item.id}.flac")
        )
        item.store()
    beet_mer(plugin, library, "--force")
    for item in (in_file, in_library):
        item.load()
        assert (item.mood, item.mer_verdict) == (mood, "unsure")
    assert read_moods(tmp_path / f"perhaps-sad {in_file.id}.flac") == {"MOOD": mood}


def test_a_label_that_is_corrected_by_hand_stays(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    item = added(library, tmp_path / "sad a.flac")
    beet_mer(plugin, library)
    item.load()
    assert item.mer_mood == "sad"
    item["mood"] = "calm"
    item.store()
    item.try_write()
    assert read_moods(tmp_path / "sad a.flac") == {"MOOD": "calm"}  # without shares: they do not say so
    item.try_write()
    assert read_moods(tmp_path / "sad a.flac") == {"MOOD": "calm"}
    in_file = added(library, tmp_path / "perhaps-sad b.flac")
    beet_mer(plugin, library)
    write_moods(tmp_path / "perhaps-sad b.flac", {"MOOD": "happy"})
    in_file.load()
    in_file.try_write()
    assert read_moods(tmp_path / "perhaps-sad b.flac") == {"MOOD": "happy"}


@pytest.mark.parametrize("shares", [True, False])
def test_a_mood_that_another_program_sets_in_a_file_from_here_stays(
    plugin: MerPlugin, library: Library, tmp_path: Path, shares: bool
) -> None:
    path = tmp_path / "sad a.flac"
    item = added(library, path)
    beet_mer(plugin, library, "--write")
    by_hand = {**(read_moods(path) if shares else {}), "MOOD": "Nostalgic"}
    write_moods(path, by_hand)
    item.load()
    item.title = "as of beet modify"
    item.store()
    item.try_write()
    assert read_moods(path) == by_hand
    beet_mer(plugin, library, "--write", "--force")
    assert read_moods(path)["MOOD"] == "sad"
    write_moods(path, {})
    item.load()
    item.try_write()
    assert read_moods(path)["MOOD"] == "sad"  # there is none to keep


@pytest.mark.parametrize(("mood", "is_ours"), [("sad", True), ("calm", False), ("Sad", False), ("x", False)])
def test_of_a_library_of_an_earlier_version_the_largest_share_is_ours(
    plugin: MerPlugin, library: Library, tmp_path: Path, mood: str, is_ours: bool
) -> None:
    item = added(library, tmp_path / "perhaps-sad a.flac")
    for name, value in {"mer_verdict": "sure", "mer_sad": 0.7, "mer_calm": 0.3, "mood": mood}.items():
        item[name] = value
    item.store()
    beet_mer(plugin, library, "--force")
    item.load()
    assert item.get("mood") == (None if is_ours else mood)


def test_shares_of_another_model_are_text(plugin: MerPlugin, library: Library, tmp_path: Path) -> None:
    item = added(library, tmp_path / "a.flac")
    fields = {
        "mood": "joy",
        "mer_mood": "joy",
        "mer_verdict": "sure",
        "mer_joy": "0.75",
        "mer_x": "much",
        "mer_y": "nan",
    }
    for name, value in fields.items():
        item[name] = value
    item.store()
    item.load()
    assert isinstance(item.mer_joy, str)
    item.write()
    assert read_moods(tmp_path / "a.flac") == {"MOOD": "joy", "MER_JOY": "0.750"}


@pytest.fixture
def labelled(
    plugin: MerPlugin, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[tuple[str, ...]], Item]:
    """Gives the item of a.flac as a model of three labels keeps and writes it: 0.5, 0.25 and 0.25."""

    def with_labels(labels: tuple[str, ...]) -> Item:
        monkeypatch.setattr(FakeLabeler, "labels", labels)
        beets.config["mer"]["model"] = "fake"
        monkeypatch.setattr(Item, "_types", plugin.item_types)
        item = added(library, tmp_path / "a.flac")
        song = SongLabel("a", emotion=labels[0], probabilities=(0.5, 0.25, 0.25), verdict="sure")  # pyright: ignore[reportArgumentType]
        plugin._keep(item, song, False)
        item.store()
        item.write()
        return item

    return with_labels


def test_names_in_tags_are_those_of_labels(labelled: Callable[..., Item], tmp_path: Path) -> None:
    labels = ("very happy", "a:b", "under_line")
    item = labelled(labels)
    assert item.mer_very_happy == 0.5
    assert read_moods(tmp_path / "a.flac") == moods.values_of("very happy", labels, (0.5, 0.25, 0.25))


def test_labels_called_as_fields_of_the_plugin_have_fields_of_their_own(
    labelled: Callable[..., Item], tmp_path: Path
) -> None:
    labels = ("mood", "Verdict", "confidence")
    item = labelled(labels)
    assert (item.mer_mood, item.mer_verdict, item.mer_confidence) == ("mood", "sure", 0.5)
    assert (item.mer_mood_, item.mer_verdict_, item.mer_confidence_) == (0.5, 0.25, 0.25)
    assert read_moods(tmp_path / "a.flac") == moods.values_of("mood", labels, (0.5, 0.25, 0.25))


@pytest.mark.parametrize(
    ("arguments", "write", "kept", "written"),
    [
        ((), False, True, False),
        (("-w",), False, True, True),
        ((), True, True, True),
        (("-W",), True, True, False),
        (("--pretend",), True, False, False),
    ],
)
def test_files_are_written_as_beets_is_set_up(
    plugin: MerPlugin, library: Library, tmp_path: Path, arguments: tuple[str, ...], write: bool, kept: bool,
    written: bool,
) -> None:  # fmt: skip
    beets.config["import"]["write"] = write
    item = added(library, tmp_path / "calm a.ogg")
    before = (tmp_path / "calm a.ogg").read_bytes()
    beet_mer(plugin, library, *arguments)
    item.load()
    assert ("mood" in item) == kept
    assert ((tmp_path / "calm a.ogg").read_bytes() != before) == written


def test_a_bad_file_costs_itself(
    plugin: MerPlugin, library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added(library, tmp_path / "broken a.wav")
    good = added(library, tmp_path / "tense b.wav")
    beet_mer(plugin, library)
    good.load()
    assert good.mood == "tense"
    assert "broken a: not an audio file" in caplog.text
    caplog.clear()
    beet_mer(plugin, library)
    assert "broken a: not an audio file" in caplog.text  # it is tried again


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("model", "no_such_model", "no_such_model"), ("windows", 0, "windows must be a whole number above 0")],
)
def test_a_wrong_option_is_one_line(
    plugin: MerPlugin, library: Library, tmp_path: Path, name: str, value: object, says: str
) -> None:
    plugin._labeler = None
    beets.config["mer"][name] = value
    assert isinstance(plugin.item_types, dict)  # other commands of beets go on
    added(library, tmp_path / "tense b.wav")
    with pytest.raises(ui.UserError, match=says) as error:
        beet_mer(plugin, library)
    assert "\n" not in str(error.value)


def test_import_with_the_real_command(tmp_path: Path, tiny_model: Path) -> None:
    """Real child processes, and a file that beets copies and writes."""
    (tmp_path / "new").mkdir()
    write_audio(tmp_path / "new" / "गीत.mp3", noise(12, 22_050), 22_050)
    (tmp_path / "beets").mkdir()
    (tmp_path / "beets" / "config.yaml").write_text(
        f"directory: {tmp_path}/library\nplugins: mer\nimport: {{copy: yes, write: yes}}\n"
        f"mer: {{auto: yes, workers: 1, model: {tiny_model}}}\n"
    )
    environment = {**os.environ, "BEETSDIR": str(tmp_path / "beets"), "PYTHONPATH": str(ROOT)}

    def beet(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "beets", *map(str, arguments)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    beet("import", "-qA", tmp_path / "new")
    mood, path = beet("ls", "-f", "$mood|$path", "mer_confidence:0.2..").strip().split("|")
    assert mood in QUADRANTS
    assert Path(path).is_relative_to(tmp_path / "library")
    assert read_moods(path) == {}  # beets writes nothing when it imports as it is
    beet("write", "--force")
    assert read_moods(path)["MOOD"] == mood
    assert read_moods(tmp_path / "new" / "गीत.mp3") == {}
