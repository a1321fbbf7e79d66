"""Splits side by side: a row a network, resumable, what fails does not stop the others."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from merkit.engine.backbone_names import NETWORKS
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, heard_text, labelled_audio
from merkit.engine.errors import UsageError
from merkit.engine.spec import MER500_LABELS, ModelSpec
from merkit.training.cli import main
from merkit.training.data import recording_facts, spectrogram_cache
from merkit.training.data.examples import Examples
from merkit.training.data.splits import Split
from merkit.training.embeddings import embeddings, head
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.runs import split_plan, split_table
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.run_folder import run_from_folder
from merkit.training.runs.split_plan import Row, SplitPlan
from pool_here import pool_here
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score
from small_training import FAST_OPTIONS, fast_job


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child processes, and a head's penalty is not searched for."""
    for module in (recording_facts, spectrogram_cache, embeddings):
        monkeypatch.setattr(module, "WorkerPool", pool_here())
    monkeypatch.setattr(head, "_STRENGTHS", (0.01,))
    monkeypatch.setattr(head, "_INNER_FOLDS", (2,))


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["table", *(str(argument) for argument in arguments)])


@pytest.fixture
def listed(songs: Path, tmp_path: Path) -> Path:
    """The songs with an artist and a source each: eight people's, of whom each has both labels."""
    file = tmp_path / "listed.csv"
    with (songs / "clips.csv").open() as table, file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "label", "artist", "source"])
        for number, row in enumerate(csv.DictReader(table)):
            rows.writerow([songs / row["path"], row["label"], row["group"], f"s{number % 8}"])
    return file


def _rows(results: Path) -> dict[tuple[str, str, str], list[str]]:
    """The cells behind a row's first three."""
    lines = [line for line in results.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {(row[0], row[1], row[2]): row[3:] for row in cells}


def _figures(folder: Path) -> tuple[str, str]:
    """How a cell begins and ends, by scikit-learn from the predictions that were kept."""
    temperature = json.loads((folder / "metrics.json").read_text())["temperature"]
    with np.load(folder / "logits.npz") as kept:
        windows = softmax(kept["logits"] / temperature, axis=1)
        shares = np.split(windows, np.cumsum(kept["windows"])[:-1])
        said, truth = np.asarray([share.mean(axis=0).argmax() for share in shares]), kept["truth"]
    return f"{f1_score(truth, said, average='macro'):.3f}", f"{accuracy_score(truth, said):.3f}, {len(truth)}"


def test_every_split_of_every_row(listed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("stranger", "acquaintance")
    stranger, acquaintance = (tmp_path / f"{name}.safetensors" for name in names)
    audio, heard = fast_job().protocol.audio, heard_text(labelled_audio(listed).clips)
    for path, provenance in ((stranger, {}), (acquaintance, {"heard_clips": heard})):
        spec = ModelSpec("audiocnn", ("a", "b", "c"), audio, 1.0, provenance)
        save_checkpoint(build_backbone("audiocnn", 3), spec, path)
    results, runs = tmp_path / "docs" / "RESULTS.md", tmp_path / "runs"
    options = [
        "--data", listed, "--cache", cache, "--split", "random", "--split", "source", "-p", "best",
        "-m", "audiocnn", "--weights", stranger, "--weights", acquaintance, "--epochs", 2,
        "--heavy-epochs", 1, "--runs", runs, "--results", results, "-j", 1, *FAST_OPTIONS,
    ]  # fmt: skip
    result = _run(*options)
    assert result.exit_code == 4, result.output  # one of the networks has heard these songs
    rows = _rows(results)
    assert rows["protocol", "network", "begins with"] == ["at random", "by source", "epochs", "minutes"]
    failed = rows["best", "AudioCNN (ours)", "acquaintance, frozen"]
    assert all(cell.startswith("failed: ") and "was trained on" in cell for cell in failed[:2])
    made = {
        "random weights": "best-audiocnn",
        "stranger, frozen": "best-audiocnn-stranger-frozen",
        "stranger, fine-tuned": "best-audiocnn-stranger-fine-tuned",
    }
    for begins, folder in made.items():
        *cells, epochs, _ = rows["best", "AudioCNN (ours)", begins]
        assert epochs == {"random weights": "2", "stranger, frozen": "", "stranger, fine-tuned": "1"}[begins]
        for cell, split in zip(cells, ("random", "source"), strict=True):
            if begins == "stranger, frozen":  # each fold has a temperature of its own
                assert cell.endswith(", 40")
                continue
            first, last = _figures(runs / folder / split)
            assert cell.startswith(first)
            assert cell.endswith(last)
    by_source = json.loads((runs / "best-audiocnn/source/metrics.json").read_text())
    assert by_source["split"]["note"] == "grouped by source: none stands on both sides"
    # What a recording tells without its music is judged on every song.
    recording = rows["the recording alone", "no network", "level, band, bitrate"]
    assert [cell.split(", ")[-1] for cell in recording[:2]] == ["40", "40"]
    pictures = [results.parent / "splits" / f"listed-{name}.png" for name in ("matrices", "curves")]
    assert all(0 < picture.stat().st_size < 150_000 for picture in pictures)
    assert all(f"(splits/{picture.name})" in results.read_text() for picture in pictures)

    # The same command trains nothing again, and writes the same; another recipe is refused.
    text = results.read_text()
    monkeypatch.setattr(split_table, "recording_facts", lambda *_: sys.exit(9))
    assert _run(*options).exit_code == 4
    assert results.read_text() == text
    other = _run(*options, "--set", "weight_decay=0.2")
    assert other.exit_code == 4
    assert "audiocnn/random holds another training" in other.output


def test_an_absent_clip_costs_itself_and_no_row(listed: Path, cache: Path, tmp_path: Path):
    with listed.open("a") as file:
        file.write("absent.wav,calm,nobody,s1\r\n")
    options = ["--data", listed, "--cache", cache, "--split", "random", "-p", "best", "-m", "audiocnn"]
    options += ["--epochs", 1, "--runs", tmp_path / "runs", "--results", tmp_path / "RESULTS.md", "-j", 1]
    result = _run(*options, *FAST_OPTIONS)
    assert result.exit_code == 4, result.output
    cell, *_ = _rows(tmp_path / "RESULTS.md")["the recording alone", "no network", "level, band, bitrate"]
    assert cell.endswith(", 40")


def test_recordings_are_judged_again_where_a_label_or_what_is_heard_has_changed(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(split_table, "recording_facts", lambda clips, _: rng.normal(size=(len(clips), 3)))
    plan = _plan(_data("calm", "tense"), tmp_path)
    table = split_table._Table(plan, tmp_path / "R.md", "a command", NoObserver())
    split = Split("random", np.arange(8, 40), np.arange(0), np.arange(8), "one")
    keys = set[str]()
    # The label of the last clip, which is trained on, is the first's; and files are heard in another way.
    for number, version in ((39, 2), (0, 2), (0, 3)):
        monkeypatch.setattr(split_table, "FACTS_VERSION", version)
        clips = [*examples.clips]
        clips[39] = dataclasses.replace(clips[39], label=clips[number].label)
        table._judge_recordings(dataclasses.replace(examples, clips=tuple(clips)), [split], tmp_path)
        keys.add(json.loads((tmp_path / "metrics.json").read_text())["key"])
    assert len(keys) == 3


def test_damaged_metrics_cost_their_cell_and_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = _plan(_data("happy", "sad"), tmp_path, models=("squeezenet", "resnet18"))

    def fill(table: split_table._Table, row: Row, split: str) -> None:
        if row.model == "squeezenet":
            run_from_folder(plan.folder(row, split))

    for row, content in zip(
        (row for row in plan.rows() if row.model == "squeezenet"), ("{", "{}"), strict=True
    ):
        folder = plan.folder(row, "random")
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(content)
    monkeypatch.setattr(split_table._Table, "fill", fill)
    assert split_table.fill_split_table(plan, tmp_path / "R.md", "a command", NoObserver()) == 1
    cells = {key[:2]: row[0] for key, row in _rows(tmp_path / "R.md").items()}
    assert cells["hindi-2022", NETWORKS["squeezenet"]].startswith("failed: ")
    assert cells["icm-2020", NETWORKS["squeezenet"]] == "not finished"
    assert cells["hindi-2022", NETWORKS["resnet18"]] == "not finished"


def test_trained_networks_are_told_apart_by_their_folders(tmp_path: Path):
    spec = ModelSpec("audiocnn", ("a", "b"), fast_job().protocol.audio)
    for run in ("v1.1", "v1.2", "deep/v1.1"):
        (tmp_path / run).mkdir(parents=True)
        save_checkpoint(build_backbone("audiocnn", 2), spec, tmp_path / run / "checkpoint.safetensors")

    def keys(*sources: str) -> list[str]:
        ears = tuple(str(tmp_path / source) for source in sources)
        plan = dataclasses.replace(_plan(_data("a", "b"), tmp_path), protocols=(), ears=ears)
        return [row.key for row in plan.rows() if row.plan == "head"]

    assert keys("v1.1", "v1.2/checkpoint.safetensors") == [
        "best-audiocnn-v1.1-fine-tuned",
        "best-audiocnn-v1.2-fine-tuned",
    ]
    with pytest.raises(
        UsageError, match=r"deep/v1.1 would share the folder best-audiocnn-v1.1-frozen: give one"
    ):
        keys("v1.1", "deep/v1.1")


def test_known_models_are_told_apart_behind_a_dot():
    assert split_plan._name_of_ears("my.v1") == "my.v1"  # as a file it would be my


def _data(*labels: str) -> LabelledAudio:
    clips = tuple(Clip(Path(f"{label}.wav"), label, f"artist of {label}", name=label) for label in labels)
    return LabelledAudio(clips, labels, "artist")


def _plan(
    data: LabelledAudio,
    tmp_path: Path,
    begin: str | None = None,
    slow: int | None = None,
    models: tuple[str, ...] = (),
) -> SplitPlan:
    papers = ("hindi-2022", "icm-2020")
    return SplitPlan({"random": data}, "x", papers, models, begin, (), (), None, slow, tmp_path)


def test_the_papers_networks_their_labels_and_their_epochs(tmp_path: Path):
    plan = _plan(_data(*MER500_LABELS), tmp_path, "none", 4)
    rows = plan.rows()
    by_protocol = [[row.model for row in rows if row.protocol == name] for name in plan.protocols]
    assert [len(models) for models in by_protocol] == [7, 4]
    assert {*by_protocol[0], *by_protocol[1]} == {
        *("alexnet", "vgg16", "resnet18", "resnet50", "mobilenetv3", "densenet121", "efficientnet_b0"),
        *("squeezenet", "mobilenetv2"),
    }
    epochs = {(r.protocol, r.model): plan.session(r, "random").protocol.recipe.epochs for r in rows}
    assert epochs["hindi-2022", "alexnet"] == 5
    assert epochs["icm-2020", "squeezenet"] == 10
    assert epochs["hindi-2022", "vgg16"] == epochs["icm-2020", "vgg16"] == 4
    labels = {row.protocol: plan.session(row, "random").data for row in rows}
    assert labels["hindi-2022"].labels == MER500_LABELS
    assert labels["icm-2020"].labels == ("happy", "sad")
    assert {clip.label for clip in labels["icm-2020"].clips} == {"happy", "sad"}


def test_networks_that_are_named_are_those_of_every_protocol(tmp_path: Path):
    """Also of one that did not have them in its paper."""
    plan = _plan(_data(*MER500_LABELS), tmp_path, models=("squeezenet", "audiocnn"))
    rows = [(row.protocol, row.model, row.begins_with) for row in plan.rows()[1:]]
    assert rows == [
        ("hindi-2022", "squeezenet", "imagenet"),
        ("hindi-2022", "audiocnn", "random weights"),
        ("icm-2020", "squeezenet", "imagenet"),
        ("icm-2020", "audiocnn", "random weights"),
    ]


@pytest.mark.parametrize(
    ("words", "named"), [(MER500_LABELS, "icm-2020 (happy, sad)"), (("happy", "sad"), "icm-2020")]
)
def test_labels_that_a_protocol_leaves_out_are_seen_in_its_rows(
    words: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(split_table._Table, "fill", lambda *_: None)
    plan = _plan(_data(*words), tmp_path, models=("squeezenet",))
    split_table.fill_split_table(plan, tmp_path / "R.md", "a command", NoObserver())
    protocols = [protocol for protocol, _, begins in _rows(tmp_path / "R.md") if begins == "imagenet"]
    assert protocols == ["hindi-2022", named]


def test_data_of_other_words_keeps_its_labels(tmp_path: Path):
    plan = _plan(_data("calm", "sad"), tmp_path)
    row = next(row for row in plan.rows() if row.protocol == "icm-2020")
    assert plan.session(row, "random").data.labels == ("calm", "sad")
    assert row.begins_with == "imagenet"


def test_the_five_words_get_the_papers_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a word about splits, by the columns that the data has."""
    asked: list[SplitPlan] = []
    monkeypatch.setattr(split_table, "fill_split_table", lambda plan, *_: asked.append(plan) or 0)
    rows = ["clip,label,artist,title,language,source"]
    for label in MER500_LABELS:
        (tmp_path / "five" / label).mkdir(parents=True)
        (tmp_path / "five" / label / f"{label}.wav").write_bytes(label.encode())
        rows.append(f"{label},{label},,a title,hindi,s{len(label)}")
    (tmp_path / "five" / "clips.csv").write_text(
        "\n".join([*rows[:2], *(r.replace(",,", ",An,") for r in rows[2:])])
    )
    basics = ["--data", tmp_path / "five", "--runs", tmp_path / "runs", "--results", tmp_path / "R.md"]
    result = _run(*basics)
    assert result.exit_code == 0, result.output
    assert [*asked[0].data] == ["random", "artist", "source"]
    assert [data.grouped_by for data in asked[0].data.values()] == ["artist", "artist", "source"]
    assert asked[0].protocols == ("hindi-2022", "icm-2020", "best")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--split", "random", "--teacher", "musicnn-msd"], "--teacher and --split exclude each other"),
        (["--protocol", "best"], "--protocol and --weights go with --split"),
        (["--split", "label_of_nobody"], "has no column 'label_of_nobody' to group by"),
        (["--split", "random", "--weights", "nowhere.pt"], "--weights nowhere.pt: no trained network"),
        (["--split", "random", "--weights", "none", "--weights", "imagenet"], "with none or with imagenet"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_trained(
    options: list[str], says: str, listed: Path, tmp_path: Path
):
    basics = ["--data", listed, "--runs", tmp_path / "runs", "--results", tmp_path / "R.md"]
    result = _run(*basics, *options)
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert not (tmp_path / "R.md").exists()
