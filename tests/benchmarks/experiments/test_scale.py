from click.testing import CliRunner
from merkit.benchmarks.cli import main
from merkit.benchmarks.experiments.scale import bytes_a_file, compare_lengths


def test_memory_does_not_grow_with_the_catalogue() -> None:
    few, many = compare_lengths(600, 1_800)
    assert (few.files, many.files) == (600, 1_800)
    # Few files, so that allocators' steps count: this finds rows or images that are kept, not paths.
    assert bytes_a_file(few, many) < 5_000


def test_the_command() -> None:
    done = CliRunner().invoke(main, ["scale", "--few", "20", "--many", "40"])
    assert done.exit_code == 0, done.output
    assert "bytes of peak memory for each further file" in done.output
    assert "rows/s" in done.output
