"""_run.json: what a folder of labels was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.catalogue.run_file import OLD_RUN_FILE, RUN_FILE, RunInfo, read_run, run_file_in
from merkit.engine.errors import MerError

INFO = RunInfo(("happy", "sad"), {"isrc": "string"}, {"model": "audiocnn", "windows": 3})


def test_the_new_name_counts_before_the_old(tmp_path: Path) -> None:
    assert run_file_in(tmp_path) is None
    with pytest.raises(MerError, match=r"is no folder of labels: it has no _run\.json"):
        read_run(tmp_path)
    (tmp_path / OLD_RUN_FILE).write_text(INFO.to_json())
    assert run_file_in(tmp_path) == tmp_path / "run.json"
    INFO.check(read_run(tmp_path), tmp_path)
    (tmp_path / RUN_FILE).write_text(RunInfo(("sad",), {}, {"model": "audiocnn", "windows": 3}).to_json())
    assert run_file_in(tmp_path) == tmp_path / "_run.json"
    with pytest.raises(MerError, match=r"begun with other options: labels .*; carried \{\}, now"):
        INFO.check(read_run(tmp_path), tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": 2}', "\0"])
def test_what_is_no_run_file(tmp_path: Path, content: str) -> None:
    (tmp_path / RUN_FILE).write_text(content)
    with pytest.raises(MerError, match=r"_run\.json (cannot be read|was made by another version)"):
        read_run(tmp_path)
