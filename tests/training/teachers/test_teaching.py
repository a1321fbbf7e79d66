"""A teacher that knows what is held out is refused, or gives way to its fold; embeddings make the lesson."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.engine.data.labelled_audio import Clip, heard_text
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.training.data.examples import Examples
from merkit.training.data.splits import Split, split_hash
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.runs.provenance import run_provenance
from merkit.training.teachers import teaching as module
from merkit.training.teachers.teaching import Teaching, check_teachers
from merkit.training.teachers.unlabelled import Unlabelled
from small_training import fast_job

NONE = np.arange(0)
TEST = np.arange(8)  # of the 40 examples, two clips each of four artists


def _split(test: np.ndarray = TEST, hash: str = "one") -> Split:
    return Split("grouped", np.setdiff1d(np.arange(40), test), NONE, test, hash)


class Heard:
    """Stands for networks: provenance is given, embeddings are drawn, what is asked is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **provenance: dict[str, Any]) -> None:
        self.provenance, self.opened, self.asked = provenance, list[str](), list[tuple[str, int]]()
        monkeypatch.setattr(module, "trained_network", self._open)
        monkeypatch.setattr(
            module, "ears_of", lambda trained: SimpleNamespace(name=trained.name, key=trained.name)
        )
        monkeypatch.setattr(module, "clip_embeddings", self._embed)
        self.fails = ""

    def _open(self, source: str, say: object) -> Any:
        self.opened.append(source)
        return SimpleNamespace(name=Path(source).name, provenance=self.provenance.get(source, {}))

    def _embed(self, ears: Any, clips: list[Clip], *_: object) -> list[np.ndarray | MerError]:
        self.asked.append((ears.name, len(clips)))
        drawn = np.random.default_rng(len(ears.name)).normal(size=(len(clips), 6)).astype(np.float32)
        return [
            MerError("silent") if clip.name == self.fails else row
            for clip, row in zip(clips, drawn, strict=True)
        ]


def _music(examples: Examples, tmp_path: Path) -> Unlabelled:
    """Two clips without a label, the second by an artist of the test part."""
    clips = []
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
        clips.append(Clip(tmp_path / name, "", name, name=name))
    touched = frozenset({"a"}), frozenset({"b", examples.clips[0].group})
    return Unlabelled(tuple(clips), (examples.decibels[0], examples.decibels[1]), touched)


def test_a_lesson_of_two_teachers_and_music(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    heard, said = Heard(monkeypatch), list[str]()
    music = _music(examples, tmp_path)
    teaching = Teaching(("msd", "ears.safetensors"), music, "more", say=said.append)
    lesson = teaching.lesson(examples, _split())
    assert heard.asked == [("msd", 42), ("ears.safetensors", 42)]
    assert lesson.soft.shape == (41, 2)
    assert lesson.vectors.shape == (41, 12)  # all that two teachers of six features have
    assert len(lesson.unlabelled) == 1
    assert lesson.unlabelled[0] is music.decibels[0]
    assert said == [
        "teacher msd: embeddings of 42 clips, once",
        "teacher ears.safetensors: embeddings of 42 clips, once",
        "clips without a label to learn from: 1; left out, for their artist or recording is held out: 1",
    ]
    facts = teaching.facts(examples, _split())
    assert [teacher["name"] for teacher in facts["teachers"]] == ["msd", "ears.safetensors"]
    assert facts["unlabelled"] == {"name": "more", "clips": 1, "left_out": 1}
    assert facts["unlabelled_clips"] == music.clips[0].id[:16]
    assert heard.opened == ["msd", "ears.safetensors"]  # once
    everything = teaching.facts(examples, _split(NONE))
    assert everything["unlabelled"]["clips"] == 2
    teaching.lesson(examples, _split(NONE))
    assert len(heard.asked) == 2  # once
    heard.fails = "b"
    with pytest.raises(MerError, match=r"the teacher msd cannot hear .*b: silent"):
        Teaching(("msd",), music).lesson(examples, _split())


def test_other_labels_of_music_that_may_be_heard(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those of a clip by an artist of the test part stay out: then a single word is left, and no head."""
    Heard(monkeypatch)
    music = _music(examples, tmp_path)
    words = {clip.id: word for clip, word in zip(music.clips, ("slow", "fast"), strict=True)}
    teaching = Teaching(("msd",), music, words=(words,))
    assert teaching.lesson(examples, _split()).vectors.shape == (41, 6)
    assert teaching.lesson(examples, _split(np.arange(8, 16))).vectors.shape == (42, 7)
    assert teaching.facts(examples, _split(np.arange(8, 16)))["second_heads"] == [["fast", "slow"]]
    for untaught in (teaching, Teaching(("msd",), music), Teaching((), music, words=(words,))):
        assert "second_heads" not in untaught.facts(examples, _split())
    assert "second_heads" not in Teaching((), music, words=(words,)).facts(examples, _split(NONE))


def test_a_lesson_is_known_by_what_it_tells(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Not by where teachers and music lie; corrected labels of a second head make it another one."""
    Heard(monkeypatch)
    music, split = _music(examples, tmp_path), _split(NONE)
    (tmp_path / "moved").mkdir()
    first, second = (clip.id for clip in music.clips)

    def identity(music: Unlabelled, *words: str, sources: tuple[str, ...] = ("x/msd",)) -> list[str]:
        kinds = (dict(zip((first, second), words, strict=True)),) if words else ()
        return Teaching(sources, music, str(music.clips[0].path), words=kinds).identity(examples, split)

    told = identity(music, "slow", "fast")
    moved = dataclasses.replace(music, clips=_music(examples, tmp_path / "moved").clips[::-1])
    assert identity(moved, "slow", "fast", sources=("y/msd",)) == told
    assert identity(music, "fast", "slow") != told
    assert identity(music) != told
    assert identity(music, "slow", "fast", sources=("x/ears",)) != told
    assert identity(dataclasses.replace(music, touched=(*music.touched[:1],)), "slow", "fast") != told
    # A frozen network learns no words.
    assert identity(music, "slow", "fast", sources=()) == identity(music, "fast", "slow", sources=())


def test_what_is_learnt_of_other_labels_and_by_teachers_counts_as_heard(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Not the music that has no word, nor what is left out, for its artist is held out."""
    Heard(monkeypatch, msd={"heard_clips": "0123456789abcdef"}, other={"heard_clips": 3})
    music = _music(examples, tmp_path)
    usable, left_out = (clip.id for clip in music.clips)
    teaching = Teaching(("msd", "other"), music, words=({usable: "slow"}, {left_out: "fast"}))
    assert teaching.heard(examples, _split()) == {"0123456789abcdef", usable[:16]}
    assert teaching.heard(examples, _split(NONE)) == {"0123456789abcdef", usable[:16], left_out[:16]}
    assert Teaching(("other",), music).heard(examples, _split()) == set()
    assert Teaching((), music, words=teaching.words).heard(examples, _split()) == set()
    job = dataclasses.replace(fast_job(), teaching=teaching)
    heard = run_provenance(job, examples, _split(), ())["heard_clips"]
    assert set(heard.split()) >= {"0123456789abcdef", usable[:16], examples.clips[-1].id[:16]}


def test_a_teacher_that_heard_the_test_part_is_refused(examples: Examples, monkeypatch: pytest.MonkeyPatch):
    """Its artists are enough: the clips themselves need not have been heard."""
    assert examples.clips[0].group == examples.clips[1].group
    split = _split(TEST[::2])
    known = {"heard_clips": heard_text([examples.clips[1]])}
    others = {
        "heard_clips": heard_text([clip for clip in examples.clips if clip.group == examples.clips[-1].group])
    }
    Heard(monkeypatch, knows=known, others=others)
    with pytest.raises(
        UsageError, match="the teacher knows was trained on clips of what is held out here, such"
    ):
        Teaching(("msd", "knows")).facts(examples, split)
    assert Teaching(("msd", "others")).facts(examples, split)
    assert Teaching(("knows",)).facts(examples, _split(NONE))  # on every clip nothing is held out


def test_a_teacher_that_heard_the_validation_part_is_refused(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
):
    """It would choose the epoch and the temperature by what it was told. The same split's own may have."""
    validation = np.arange(8, 16)
    split = dataclasses.replace(
        _split(), training=np.setdiff1d(np.arange(40), np.arange(16)), validation=validation
    )
    heard = {"heard_clips": heard_text([examples.clips[validation[1]]])}
    own = {"hash": split.hash, "validation_hash": split_hash(examples.clips, validation)}
    others = {
        "knows": {},
        "without": {"hash": split.hash},  # it was trained on these clips
        "fewer": {**own, "validation_hash": split_hash(examples.clips, validation[:4])},
        "another": {**own, "validation_hash": split_hash(examples.clips, np.arange(16, 24))},
    }
    Heard(monkeypatch, **{name: {**heard, "split": facts} for name, facts in {**others, "own": own}.items()})
    for name in others:
        with pytest.raises(UsageError, match=f"teacher {name} was trained on clips of what is held out here"):
            Teaching((name,)).facts(examples, split)
    assert Teaching(("own",)).facts(examples, split)
    made = run_provenance(fast_job(), examples, split, ())["split"]
    assert made.items() >= own.items()


def test_folds_without_a_final_network_teach_no_network_on_everything(tmp_path: Path):
    """Known before the folds are trained, not after."""
    spec = ModelSpec("audiocnn", ("calm", "tense"), fast_job().protocol.audio)
    (tmp_path / "cv" / "fold-1").mkdir(parents=True)
    save_checkpoint(AudioCNN(2), spec, tmp_path / "cv" / "fold-1" / "checkpoint.safetensors")
    check_teachers((str(tmp_path / "cv"),), print)
    with pytest.raises(UsageError, match="is a cross-validation without --final: its mer-train command with"):
        check_teachers((str(tmp_path / "cv"),), print, final=True)


def test_a_fold_is_taught_by_its_own_fold(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    audio = fast_job().protocol.audio
    for number, name in enumerate(("one", "two"), start=1):
        spec = ModelSpec("audiocnn", ("calm", "tense"), audio, provenance={"split": {"hash": name}})
        folder = tmp_path / f"fold-{number}"
        folder.mkdir()
        save_checkpoint(AudioCNN(2), spec, folder / "checkpoint.safetensors")
    heard = Heard(monkeypatch)
    teaching = Teaching((str(tmp_path),))
    for name, number in (("two", 2), ("one", 1)):
        teaching.facts(examples, _split(hash=name))
        assert heard.opened[-1] == str(tmp_path / f"fold-{number}" / "checkpoint.safetensors")
    teaching.facts(examples, _split(NONE))
    assert heard.opened[-1] == str(tmp_path)
    other = dataclasses.replace(_split(), hash="three")
    with pytest.raises(UsageError, match="has no fold with this test part, and no final network"):
        teaching.facts(examples, other)
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "checkpoint.safetensors").touch()
    assert teaching.facts(examples, other)
    assert heard.opened[-1] == str(tmp_path)
    knows = {str(tmp_path): {"heard_clips": heard_text(examples.clips)}}
    Heard(monkeypatch, **knows)
    with pytest.raises(UsageError, match="was trained on clips of what is held out here"):
        Teaching((str(tmp_path),)).facts(examples, other)
