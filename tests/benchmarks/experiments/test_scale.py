from merkit.benchmarks.experiments.scale import Run, bytes_a_file, compare_lengths, memory_line


def test_memory_is_no_less_than_none() -> None:
    few, many = Run(500, 1.0, 1.0, 3_000_000), Run(1_500, 3.0, 3.0, 5_000_000)
    assert memory_line(few, many) == "2000 bytes of peak memory for each further file"
    less = Run(1_500, 3.0, 3.0, 2_900_000)
    assert memory_line(few, less) == "0 bytes of peak memory for each further file"
    assert memory_line(few, Run(1_499, 3.0, 3.0, 5_000_000)).startswith("too few files to tell")


def test_memory_does_not_grow_with_the_catalogue() -> None:
    bytes_each = []
    for _ in range(3):  # an allocator that takes a block more in one run is no leak: once without is enough
        few, many = compare_lengths(600, 1_800)
        assert (few.files, many.files) == (600, 1_800)
        bytes_each.append(bytes_a_file(few, many))
        if bytes_each[-1] < 5_000:
            break
    # With so few files this finds rows or log-mels that are kept, not paths.
    assert min(bytes_each) < 5_000
