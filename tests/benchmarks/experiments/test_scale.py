from merkit.benchmarks.experiments.scale import bytes_a_file, compare_lengths


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
