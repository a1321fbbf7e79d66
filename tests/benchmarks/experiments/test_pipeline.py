import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from audio_files import noise, write_audio
from click.testing import CliRunner
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments import pipeline
from merkit.benchmarks.experiments.pipeline import Comparison, Contender, compare_pipelines, decoded_samples
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.spec import AudioSpec


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    write_audio(folder / "a.wav", noise(40, 22_050), 22_050)
    write_audio(folder / "b.m4a", noise(4, 44_100), 44_100)
    return folder


def test_the_floor_decodes_the_windows(music: Path) -> None:
    options = WindowOptions(AudioSpec())
    assert decoded_samples(str(music / "a.wav"), options)[0] == 3 * 10 * 22_050
    assert decoded_samples(str(music / "b.m4a"), options)[0] == pytest.approx(4 * 44_100, rel=0.02)
    every = replace(options, windows="all")
    assert decoded_samples(str(music / "a.wav"), every)[0] == 4 * 10 * 22_050


@pytest.mark.parametrize("songs", [1, 4])  # the folder has two
def test_contenders_in_turns(music: Path, tmp_path: Path, tiny_model: Path, songs: int) -> None:
    peer = f"{sys.executable} -c 'import os, sys; assert len(os.listdir(sys.argv[1])) == {songs}' {{dir}}"
    arguments = [str(music), "--model", str(tiny_model), "--songs", f"{songs}", "--rounds", "1"]
    arguments += ["--peer", peer]
    done = CliRunner().invoke(
        main, ["pipeline", *arguments, "--no-paper", "--json", str(tmp_path / "out.json")]
    )
    assert done.exit_code == 0, done.output
    assert "1.00x  mer-label" in done.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report) == [
        "files", "cores", "seconds_a_song", "cpu_seconds_a_song", "ratios", "stages_cpu_s",
        "wall_x_cores_over_cpu", "failed",
    ]  # fmt: skip
    assert list(report["seconds_a_song"]) == ["mer-label", "decode floor", peer]
    assert report["files"] == songs
    assert all(seconds > 0 for turns in report["cpu_seconds_a_song"].values() for seconds in turns)
    assert report["ratios"]["mer-label"] == 1
    assert report["wall_x_cores_over_cpu"] > 0
    assert report["stages_cpu_s"]["decode"] > 0
    assert report["failed"] == []


def test_a_ratio_is_of_medians_and_of_how_much_longer_a_contender_takes() -> None:
    ours, other = (Contender(name, 1, lambda _: (0, 0)) for name in ("mer-label", "other"))
    ours.seconds, other.seconds = [1.0, 2.0, 9.0], [6.0, 5.0, 7.0]
    comparison = Comparison(1, 2, [ours, other], StageSeconds(), 1.0, [])
    assert comparison.to_mapping()["ratios"] == {"mer-label": 1, "other": 3}


def test_every_core_counts_in_wall_x_cores(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    clock = [100.0]
    stages = StageSeconds(decode=6.0, network=2.0)

    def labels() -> list[None]:
        clock[0] += 5
        return []

    run = SimpleNamespace(labels=labels, stages=stages)
    monkeypatch.setattr(pipeline, "open_backend", lambda _: nullcontext())
    monkeypatch.setattr(pipeline, "CatalogueRun", lambda *_: nullcontext(run))
    monkeypatch.setattr(pipeline, "usable_cores", lambda: 4)
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    artifact = open_artifact(str(tiny_model))
    options = WindowOptions(artifact.spec.audio)
    assert pipeline._stages(tiny_model.parent, artifact, options, "out") == (stages, 4 * 5 / 8)


def test_files_that_cannot_be_read_are_named_and_left_out(
    music: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (music / "a0.mp3").touch()
    common = ["--model", str(tiny_model), "--songs", "3", "--rounds", "1", "--no-paper"]
    report = tmp_path / "out.json"
    done = CliRunner().invoke(main, ["pipeline", str(music), *common, "--json", str(report)])
    assert done.exit_code == 4, done.output
    values = json.loads(report.read_text())
    (failed,) = values["failed"]
    assert failed.startswith(f"{music / 'a0.mp3'}: ")
    assert f"left out {failed}" in done.stderr
    assert (values["files"], values["ratios"]["mer-label"]) == (3, 1)
    done = CliRunner().invoke(main, ["pipeline", str(music), *common[:2], "--songs", "1", *common[4:]])
    assert done.exit_code == 0, done.output  # only the first file, which is a good one
    for file in music.iterdir():
        file.write_bytes(b"")
    done = CliRunner().invoke(main, ["pipeline", str(music), *common])
    assert (done.exit_code, "none of 3 files gives audio; " in done.stderr) == (1, True)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_the_cpu_time_of_a_process_that_outlives_the_command_counts(
    music: Path, tmp_path: Path, tiny_model: Path
) -> None:
    burn = "import os, time\nif not os.fork():\n    while time.process_time() < 1: pass"
    (tmp_path / "burn.py").write_text(burn)
    peer = f"{sys.executable} {tmp_path / 'burn.py'} {{dir}}"
    comparison = compare_pipelines(music, str(tiny_model), 2, 1, paper=False, peers=[peer])
    assert comparison.contenders[-1].cpu_seconds[0] * 2 > 0.9
    # mer-label decodes in processes that are no children of its own.
    spent = comparison.stages.decode + comparison.stages.mel
    assert comparison.contenders[0].cpu_seconds[0] * 2 > 0.8 * spent


def test_without_librosa_nothing_is_measured_first(
    music: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None)
    with pytest.raises(MerError, match="needs librosa"):
        compare_pipelines(music, str(tiny_model))


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        (["'unclosed {dir}"], "is no command line: No closing quotation"),
        (["  "], "is empty"),
        (["no-such-program {dir}"], "--peer no-such-program {dir}: there is no program no-such-program"),
        (["true {dir}", "true", "true {dir}"], "--peer true {dir} is timed already"),
        (["mer-label"], "--peer mer-label is timed already"),
    ],
)
def test_peers_are_refused_before_any_turn(
    music: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, peers: list[str], said: str
) -> None:
    monkeypatch.setattr(pipeline, "timed", lambda *_: pytest.fail("a turn was taken"))
    monkeypatch.setattr(pipeline, "_usable", lambda *_: pytest.fail("files were read"))
    with pytest.raises(UsageError) as raised:
        compare_pipelines(music, str(tiny_model), 2, 1, paper=False, peers=peers)
    assert said in str(raised.value)


def test_what_fails_is_said(music: Path, tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(MerError, match="no audio"):
        compare_pipelines(tmp_path / "mer-home", str(tiny_model), paper=False)
    peer = ["--peer", f"{sys.executable} -c 'import sys; sys.exit(5)'"]
    common = ["--model", str(tiny_model), "--songs", "2", "--rounds", "1", "--no-paper"]
    done = CliRunner().invoke(main, ["pipeline", str(music), *common, *peer])
    assert (done.exit_code, "ended with 5" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("audioread.exceptions.NoBackendError", "only with FFmpeg on the PATH"),
        ("ModuleNotFoundError: No module named 'librosa'", "needs the extra bench: ModuleNotFoundError"),
        ("ValueError: no sound", "pipeline failed: ValueError: no sound$"),
    ],
)
def test_why_the_papers_pipeline_fails(monkeypatch: pytest.MonkeyPatch, last: str, said: str) -> None:
    done = subprocess.CompletedProcess([], 1, "", f"Traceback\n  File\n{last}\n")
    monkeypatch.setattr(pipeline.subprocess, "run", lambda *arguments, **options: done)
    with pytest.raises(MerError, match=said):
        pipeline._paper_in_child(["a.m4a"])


def test_the_papers_pipeline(music: Path) -> None:
    pytest.importorskip("librosa")
    pytest.importorskip("torchvision")
    from merkit.benchmarks.experiments.pipeline import paper_pipeline

    assert min(paper_pipeline([str(music / "a.wav")])) > 0
