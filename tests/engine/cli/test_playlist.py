"""mer-label playlist as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from label_folders import row_of, write_labels
from merkit.engine.catalogue.playlists import sources_from_playlist
from merkit.engine.cli.label import main
from merkit.engine.outputs.playlists import write_m3u8, write_nsp, write_xspf


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["playlist", *map(str, arguments)])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Files a to f; of them e is gone, and one row is of an error."""
    music = tmp_path / "music"
    music.mkdir()
    rows = []
    for name, emotion, share, verdict in (
        ("a", "happy", 0.6, "sure"),
        ("b", "happy", 0.9, "sure"),
        ("c", "happy", 0.5, "unsure"),
        ("d", "sad", 0.8, "sure"),
        ("e", "sad", 0.7, "sure"),
    ):
        (music / name).write_text(name)
        rows.append(row_of(music / name, emotion, share, verdict=verdict, artist=f"{9 - len(rows)}"))
    (music / "e").unlink()
    (music / "a").write_text("changed")
    rows.append(row_of(music / "f", None))
    return write_labels(tmp_path / "labels", rows[:2], rows[2:])


def names(playlist: Path) -> str:
    return "".join(Path(source.path).name for source in sources_from_playlist(str(playlist), lambda: None))


def test_a_playlist_an_emotion(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "lists"
    done = run(labels, out)
    assert done.exit_code == 4  # e is not there
    assert names(out / "Happy.m3u8") == "ba"
    assert names(out / "Sad.m3u8") == "d"
    assert sorted(path.name for path in out.iterdir()) == ["Happy.m3u8", "Sad.m3u8"]
    assert "left out: 1 not sure enough, 1 not there now, 1 without a label" in done.stderr
    assert done.stdout.splitlines() == [f"{out / 'Happy.m3u8'}\t2", f"{out / 'Sad.m3u8'}\t1"]


@pytest.mark.parametrize(
    ("options", "happy"),
    [
        (["--unsure"], "bac"),
        (["--min-confidence", "0.7"], "b"),
        (["--limit", "1"], "b"),
        (["--sort", "path"], "ab"),
        (["--sort", "artist", "--unsure"], "cba"),
    ],
)
def test_options(labels: Path, tmp_path: Path, options: list[str], happy: str) -> None:
    run(labels, tmp_path / "lists", *options)
    assert names(tmp_path / "lists" / "Happy.m3u8") == happy


@pytest.mark.parametrize("order", ["path", "artist"])
def test_numbers_in_paths_are_in_the_order_of_numbers(tmp_path: Path, order: str) -> None:
    wanted = ["1/b", "01/c", "2/10", "2/a", "10/9", "10/10", "x", "x1", "x11", "x१२", "x²"]
    for name in wanted:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    labels = write_labels(tmp_path / "labels", [row_of(tmp_path / name) for name in sorted(wanted)])
    run(labels, tmp_path, "--sort", order)
    sources = sources_from_playlist(str(tmp_path / "Happy.m3u8"), lambda: None)
    assert [source.path for source in sources] == [str(tmp_path / name) for name in wanted]


def test_a_list_that_nothing_is_left_for_becomes_empty(labels: Path, tmp_path: Path) -> None:
    run(labels, tmp_path / "lists")
    done = run(labels, tmp_path / "lists", "--min-confidence", "0.95")
    assert names(tmp_path / "lists" / "Happy.m3u8") == ""
    assert "no song is left" in done.stderr


def test_a_disk_that_is_away_empties_no_list(labels: Path, tmp_path: Path) -> None:
    run(labels, tmp_path / "lists")
    (tmp_path / "music").rename(tmp_path / "away")
    done = run(labels, tmp_path / "lists")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no song is left for a playlist: those that are there stay as they are" in done.stderr
    (tmp_path / "away").rename(tmp_path / "music")
    assert names(tmp_path / "lists" / "Happy.m3u8") == "ba"


@pytest.mark.parametrize("kind", ["m3u8", "xspf", "nsp"])
def test_playlists_of_other_labels_are_named(labels: Path, tmp_path: Path, kind: str) -> None:
    """As another model's, which no run replaces any more. What is of these labels is not meant."""
    out = tmp_path / "lists"
    out.mkdir()
    if kind != "nsp":
        run(labels, out, "--format", kind, "--journey", "sad:happy")
    for name in ("Romantic", "Sad to Party", "R & B"):
        if kind == "nsp":
            write_nsp(out / f"{name}.nsp", name, "romantic")
        else:
            {"m3u8": write_m3u8, "xspf": write_xspf}[kind](out / f"{name}.{kind}", name, [])
    (out / f"For Anna.{kind}").write_bytes((out / f"Romantic.{kind}").read_bytes())
    (out / f"playlist.{kind}").write_bytes((out / f"Romantic.{kind}").read_bytes())
    (out / f"Party.{kind}").write_text("somebody else's")
    done = run(labels, out, "--format", kind)
    (line,) = [line for line in done.stderr.splitlines() if "other labels" in line]
    assert line.endswith(" are of other labels: remove them, or write to another folder")
    others = line.partition(" are of")[0].split(", ")
    assert others == [f"R & B.{kind}", f"Romantic.{kind}", f"Sad to Party.{kind}"]
    for name in (others[0], others[2]):
        (out / name).unlink()
    done = run(labels, out, "--format", kind)
    assert f"Romantic.{kind} is of other labels: remove it, or" in done.stderr


def test_a_name_that_no_playlist_can_hold_takes_no_place(tmp_path: Path) -> None:
    for name in ("a\nb", "c", "d"):
        (tmp_path / name).touch()
    shares = {"a\nb": 0.9, "c": 0.8, "d": 0.7}
    rows = [row_of(tmp_path / name, "happy", share) for name, share in shares.items()]
    labels = write_labels(tmp_path / "labels", rows)
    for options in (["--limit", 2], ["--journey", "sad:happy", "--limit", 2]):
        done = run(labels, tmp_path / "lists", *options)
        assert done.stdout.endswith("\t2\n")
        assert "left out: 1 with the end of a line in their names" in done.stderr


def test_nothing_left_for_new_playlists_makes_no_folder(labels: Path, tmp_path: Path) -> None:
    done = run(labels, tmp_path / "lists", "--min-confidence", "0.95")
    assert (done.exit_code, done.stdout, (tmp_path / "lists").exists()) == (1, "", False)
    assert "no song is left" in done.stderr


def test_a_journey(labels: Path, tmp_path: Path) -> None:
    done = run(labels, tmp_path / "lists", "--journey", "sad:happy", "--limit", 3)
    assert names(tmp_path / "lists" / "Sad to Happy.m3u8") == "dab"
    assert len(done.stdout.splitlines()) == 1


def test_a_song_without_probabilities_has_no_place_in_a_journey_and_is_counted(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.touch()
    rows = [row_of(path, emotion) for path, emotion in zip(paths, ("happy", "sad", "sad"), strict=True)]
    rows[2] |= dict.fromkeys((key for key in rows[2] if key.startswith("p_")), None)
    labels = write_labels(tmp_path / "labels", rows)
    done = run(labels, tmp_path / "lists", "--journey", "sad:happy")
    assert names(tmp_path / "lists" / "Sad to Happy.m3u8") == "ba"
    assert "left out: 1 without a label" in done.stderr


@pytest.mark.parametrize("options", [[], ["--journey", "sad:happy"], ["--limit", "1"]])
def test_songs_that_vlc_does_not_find_are_counted(tmp_path: Path, options: list[str]) -> None:
    rows = []
    for name, emotion in (("A #2", "happy"), ("b?", "sad"), ("c%20d", "sad"), ("100% e", "calm")):
        (tmp_path / name).touch()
        rows.append(row_of(tmp_path / name, emotion))
    labels = write_labels(tmp_path / "labels", rows)
    done = run(labels, tmp_path / "lists", *options)
    count = 2 if "--limit" in options else 3
    assert done.stderr == (
        f"{count} songs have # ? or % in the path, which VLC does not find in an M3U8: --format xspf\n"
    )
    lists = [line.split("\t")[0] for line in done.stdout.splitlines()]
    done = run(labels, tmp_path / "lists", "--format", "xspf", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        path.replace(".m3u8", ".xspf") for path in lists
    ]


@pytest.mark.parametrize("kind", ["m3u8", "xspf", "nsp"])
def test_a_playlist_of_somebody_else_is_met_before_any_is_written(
    labels: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "lists"
    out.mkdir()
    (out / f"Sad.{kind}").write_text("mine")
    done = run(labels, out, "--format", kind)
    assert (done.exit_code, done.stdout) == (2, "")
    said = f"Sad.{kind} is there and not of this command's making: move it, or name another folder\n"
    assert done.stderr.endswith(said)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(f"Sad.{kind}", "mine")]


def test_another_song_of_the_same_path_is_not_listed(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b" / "music").mkdir(parents=True)
    (tmp_path / "b" / "music" / "e").write_text("another")
    row = {**row_of("music/e", "sad"), "real_path": str(tmp_path / "music" / "e")}
    write_labels(labels, [], [row])
    monkeypatch.chdir(tmp_path / "b")
    done = run(labels, "lists")
    assert done.exit_code == 1
    assert "left out: 1 not there now" in done.stderr
    assert not Path("lists").exists()


def test_where_nothing_is_written_no_folder_is_made(labels: Path, tmp_path: Path) -> None:
    done = run(labels, tmp_path / "new" / "lists", "--min-confidence", "0.95")
    assert (done.exit_code, "no song is left" in done.stderr) == (1, True)
    assert not (tmp_path / "new").exists()


def test_a_damaged_shard_makes_no_folder(labels: Path, tmp_path: Path) -> None:
    (labels / "part-000009.parquet").write_bytes((labels / "part-000000.parquet").read_bytes()[:-9])
    done = run(labels, tmp_path / "new" / "lists")
    assert (done.exit_code, "part-000009.parquet" in done.stderr) == (1, True)
    assert not (tmp_path / "new").exists()


def test_smart_playlists_need_no_file(labels: Path, tmp_path: Path) -> None:
    done = run(labels, tmp_path / "lists", "--format", "nsp")
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == [
        "Calm.nsp", "Happy.nsp", "Sad.nsp", "Tense.nsp",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["{labels}"], 2, "Missing argument 'DIR'"),
        (["{tmp}/music", "{tmp}/x"], 1, "is no folder of labels"),
        (["{tmp}/nowhere", "{tmp}/x"], 1, "nowhere cannot be read: No such file"),
        (["{labels}/part-000000.parquet", "{tmp}/x"], 1, "is a file: a folder of labels is wanted"),
        (["{labels}", "{labels}"], 2, "which other programs read as a whole"),
        (["{labels}", "{labels}/lists"], 2, "which other programs read as a whole"),
        (["{labels}", "{tmp}/other/lists"], 2, "which other programs read as a whole"),
        (["{labels}", "{tmp}/music/a"], 1, "cannot be made"),
        (["{labels}", "{tmp}/loop"], 1, "loop cannot be made"),
        (["{tmp}/loop", "{tmp}/x"], 1, "loop cannot be read"),
        (["{labels}", ""], 2, "Invalid value for 'DIR': an empty name"),
        (["", "{tmp}/x"], 2, "Invalid value for 'LABELS': an empty name"),
        (["{labels}", "{tmp}/x", "--journey", "sad:sad"], 2, "FROM:TO, two of happy, tense, sad, calm"),
        (["{labels}", "{tmp}/x", "--journey", "sad"], 2, "FROM:TO"),
        (["{labels}", "{tmp}/x", "--format", "nsp", "--unsure"], 2, "Navidrome chooses"),
        (["{labels}", "{tmp}/x", "--min-confidence", "nan"], 2, "finite"),
        (["{labels}", "{tmp}/x", "--journey", "sad:happy", "--sort", "path"], 2, "leave --sort out"),
        (["{labels}", "{tmp}/x", "--journey", "sad:happy", "--sort", "confidence"], 2, "leave --sort out"),
    ],
)
def test_what_is_refused(
    labels: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    write_labels(tmp_path / "other", [row_of("z", "sad")])
    done = run(*(text.format(labels=labels, tmp=tmp_path) for text in arguments))
    assert done.exit_code == code
    assert reason in done.stderr
    assert not (tmp_path / "x").exists()
