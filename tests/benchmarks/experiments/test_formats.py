"""mer-bench formats: files that are made, the floors beside them, the table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from click.testing import CliRunner
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments import formats
from merkit.benchmarks.experiments.formats import Cost, decoding_times, made_songs, markdown_from_costs
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.spec import AudioSpec


def test_the_floor_is_the_cheaper_decoder_and_ratios_are_paired() -> None:
    cost = Cost("a|b.mp3", "x", (2.0, 4.0, 9.0), (1.0, 2.0, 3.0), (2.0, 3.0, 1.5), 0.25)
    assert cost.floor == (1.0, 2.0, 3.0)
    assert cost.ratio == 2.0  # of 2, 2 and 3; the ratio of the medians too
    alone = Cost("a.m4a", "x", (3.0, 3.0), None, (2.0, 2.0))
    assert (alone.floor, alone.ratio) == ((2.0, 2.0), 1.5)
    torn = Cost("c.mp3", "x", (2.0, 4.0, 9.0), (1.0, 4.0, 3.0), None)
    assert torn.ratio == 2.0  # of 2, 1 and 3; the medians' is 4 / 3
    noisy = Cost("b.m4a", "x", (3.0, 3.0), None, (2.0, 2.0), -0.177)
    lines = markdown_from_costs([cost, alone, noisy]).splitlines()
    assert lines[2:] == [
        "| a\\|b.mp3 | x | 4000.0 ms | 2000.0 ms | 2000.0 ms | 2.00 | 250 ms |",
        "| a.m4a | x | 3000.0 ms | - | 2000.0 ms | 1.50 | - |",
        "| b.m4a | x | 3000.0 ms | - | 2000.0 ms | 1.50 | - |",
    ]


def test_songs_are_made_in_seven_formats(tmp_path: Path) -> None:
    songs = made_songs(tmp_path, 1.0)
    assert [song.suffix for song in songs] == [".mp3", ".ogg", ".flac", ".wav", ".m4a", ".opus", ".wma"]
    wav = soundfile.read(tmp_path / "song.wav")[0]
    assert wav.shape == (44_100, 2)
    assert 0.05 < np.sqrt(np.mean(wav**2)) < 0.5
    options = WindowOptions(AudioSpec())
    for song in songs:
        decoder, ours, libsndfile, ffmpeg = decoding_times(str(song), options)
        assert decoder.startswith(("libsndfile", "ffmpeg"))
        assert ours > 0
        assert (libsndfile is None) == (song.suffix in (".m4a", ".wma"))
        assert ffmpeg is not None


def test_the_start_of_a_command_is_no_songs_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_run", lambda _, songs: 5 + 0.25 * songs)
    assert formats._wall_s(Path("a.mp3"), 20) == 0.25


def test_a_full_folder_for_temporary_files_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr("soundfile.SoundFile.write", full)
    done = CliRunner().invoke(main, ["formats", "--rounds", "1", "--songs", "0", "--seconds", "1"])
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith(
        f"Error: {tempfile.gettempdir()}, the folder for temporary files, cannot be"
    )
    assert len(done.stderr.splitlines()) == 1


def test_the_command_measures_files_that_are_given(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "\u0939\u093f\u0928\u094d\u0926\u0940.wav", noise(2, 16_000), 16_000)
    table = tmp_path / "table.md"
    done = CliRunner().invoke(
        main, ["formats", str(path), "--rounds", "1", "--songs", "0", "--markdown", str(table)]
    )
    assert done.exit_code == 0, done.output
    assert table.read_text() in done.stdout
    assert path.name in done.stdout
    formats_again = ["formats", str(path), "--rounds", "1", "--songs", "0", "--markdown", str(table)]
    assert CliRunner().invoke(main, formats_again).exit_code == 0  # our own is replaced
    table.write_text("# Notes\n")
    done = CliRunner().invoke(main, formats_again)
    assert (done.exit_code, "not of this command's making" in done.stderr) == (2, True), done.output
    assert table.read_text() == "# Notes\n"


def test_the_command_ends_with_4_where_a_file_is_left_out(tmp_path: Path) -> None:
    good = write_audio(tmp_path / "a.wav", noise(2, 16_000), 16_000)
    (tmp_path / "b.mp3").write_bytes(b"no sound")
    done = CliRunner().invoke(
        main, ["formats", str(good), str(tmp_path / "b.mp3"), "--rounds", "1", "--songs", "0"]
    )
    assert done.exit_code == 4, done.output
    assert "a.wav" in done.stdout
    assert "b.mp3" not in done.stdout
    said = f"left out {tmp_path / 'b.mp3'}: not an audio file that libsndfile or FFmpeg can open"
    assert [line for line in done.stderr.splitlines() if "left out" in line] == [said]


def test_what_cannot_be_decoded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"no sound")
    done = CliRunner().invoke(main, ["formats", str(tmp_path / "a.mp3"), "--rounds", "1", "--songs", "0"])
    assert done.exit_code == 1
    assert "a.mp3: not an audio file" in done.stderr.splitlines()[-1]


def test_a_file_that_mer_label_alone_reads_has_no_floor() -> None:
    """As damaged ones, in which libsndfile and FFmpeg give up at the first error."""
    alone = Cost("a.m4a", "x", (1.0, 2.0), None, None)
    assert alone.floor is alone.ratio is None
    assert markdown_from_costs([alone]).splitlines()[-1] == "| a.m4a | x | 1500.0 ms | - | - | - | - |"
