from pathlib import Path

from click.testing import CliRunner
from mer.benchmarks.cli import main
from mer.benchmarks.scale import bytes_a_file, compare_lengths


def test_memory_does_not_grow_with_the_catalogue(tiny_model: Path) -> None:
    few, many = compare_lengths(1_000, 5_000, str(tiny_model))
    assert (few.files, many.files) == (1_000, 5_000)
    # A list of paths alone would take 100 bytes a file, rows that are kept 5,000; allocators add steps.
    assert bytes_a_file(few, many) < 2_000


def test_the_command(tiny_model: Path) -> None:
    done = CliRunner().invoke(main, ["scale", "--few", "20", "--many", "40", "--model", str(tiny_model)])
    assert done.exit_code == 0, done.output
    assert "bytes of peak memory for each further file" in done.output
    assert "rows/s" in done.output
