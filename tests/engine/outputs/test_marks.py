"""What is known as ours again, and what is somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from merkit.engine.errors import UsageError
from merkit.engine.outputs.marks import has_columns, has_keys, has_mark, has_table, is_picture, refuse_foreign


@pytest.mark.parametrize(
    ("is_ours", "ours", "others"),
    [
        (has_mark(b"<title>mer"), b"<head><title>mer-bench", (b"<title>mine", b" " * 5_000 + b"<title>mer")),
        (has_columns("path", "after"), b"\xef\xbb\xbfpath;before;after\n", (b"path\n", b"\xff\0", b"\n")),
        (
            is_picture,
            b"\x89PNG tEXtSoftware\0merkit",
            (b"\x89PNG tEXtSoftware\0GIMP", b"\x89PNG tEXtSoftware\0Matplotlib version3.9"),
        ),
        (
            has_table("| file | read by |"),
            b"`mer`\n\n| file | read by | more |\n|---|",
            (b"# Mine\n| file | read by |\n", b"|a|\n\n| file | read by |\n", b"notes\n", b"| file | by |\n"),
        ),
        (has_keys("rows"), b'{"rows": [], "x": NaN}', (b"{}", b"[1]", b"rows", b"\xff", b"[" * 100_000)),
    ],
)
def test_what_may_be_replaced(is_ours, ours: bytes, others: tuple[bytes, ...], tmp_path: Path) -> None:
    for content in (ours, b""):
        (tmp_path / "file").write_bytes(content)
        refuse_foreign(tmp_path / "file", is_ours)
    for content in others:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UsageError, match="file is there and not of this command's making: name another"):
            refuse_foreign(tmp_path / "file", is_ours)
    refuse_foreign(tmp_path / "new", is_ours)
    os.mkfifo(tmp_path / "pipe")  # whose opening would wait for a reader
    refuse_foreign(tmp_path / "pipe", is_ours)
    refuse_foreign(tmp_path, is_ours)


def test_standard_output_may_go_to_a_file_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a line\n")
    program = "from pathlib import Path; from merkit.engine.outputs.marks import has_keys, refuse_foreign\n"
    program += "refuse_foreign(Path('/dev/stdout'), has_keys('rows'))"
    with (tmp_path / "log").open("a") as stdout:
        subprocess.run([sys.executable, "-c", program], stdout=stdout, check=True)
