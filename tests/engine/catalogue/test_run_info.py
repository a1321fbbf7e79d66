"""What a folder of labels was begun with, as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.catalogue.run_info import RunInfo, fields_from_json
from merkit.engine.errors import MerError

INFO = RunInfo(("happy", "sad"), {"isrc": "string"}, {"model": "audiocnn", "windows": 3})


def test_a_run_goes_on_with_the_same_options_only(tmp_path: Path) -> None:
    INFO.check(fields_from_json(INFO.to_json(), tmp_path), tmp_path)
    other = RunInfo(("sad",), {}, {"model": "audiocnn", "windows": 3})
    with pytest.raises(MerError, match=r"begun with other options: labels .*; carried \{\}, now"):
        INFO.check(fields_from_json(other.to_json(), tmp_path), tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": 2}', "\0", b"\xff"])
def test_what_is_no_such_text(content: str | bytes) -> None:
    with pytest.raises(MerError, match=r"part (cannot be read|was made by another version)"):
        fields_from_json(content, Path("part"))
