from pathlib import Path

from mer.engine.sources import inputs_from_paths


def test_folders_files_and_what_is_skipped(tmp_path: Path) -> None:
    for name in ("b.MP3", "a.wav", "notes.txt", "list.m3u8", "sub/c.Opus", "sub/clip.mp4", "गीत.flac", "cover.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    odd = tmp_path / "notes.txt"
    found = inputs_from_paths([odd, tmp_path, "missing.mp3"])
    names = [Path(path).name for path in found.paths]
    assert names == ["notes.txt", "a.wav", "b.MP3", "गीत.flac", "c.Opus", "clip.mp4", "missing.mp3"]
    assert found.skipped == 3


def test_loops_of_links_end(tmp_path: Path) -> None:
    inner = tmp_path / "albums" / "one"
    inner.mkdir(parents=True)
    (inner / "a.mp3").touch()
    (inner / "up").symlink_to(tmp_path / "albums")
    (tmp_path / "albums" / "again").symlink_to(inner)
    (tmp_path / "albums" / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    found = inputs_from_paths([tmp_path])
    assert sorted(Path(path).name for path in found.paths) == ["a.mp3", "dangling.mp3"]
