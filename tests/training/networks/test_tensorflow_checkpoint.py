"""Checkpoints are read as they were written; damaged ones are refused, whatever the damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.errors import MerError
from merkit.training.networks.tensorflow_checkpoint import tensors_from_checkpoint
from tensorflow_files import checkpoint_from_tensors

TENSORS = {
    "dense/bias": np.array([1, -2, 3], np.float32),
    "dense/kernel": np.arange(600, dtype=np.float32).reshape(3, 200),
    "dense_1/kernel": np.ones((2, 1, 3), np.float32),
    "power": np.float32(0.5).reshape(()),
    "step": np.array([7], np.int32),
}
INDEX, DATA = checkpoint_from_tensors(TENSORS)


def test_float_tensors_are_read_by_name_and_shape():
    read = tensors_from_checkpoint(INDEX, DATA)
    assert set(read) == set(TENSORS) - {"step"}
    for name, values in read.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, TENSORS[name])


@given(st.data())
def test_a_damaged_index_is_refused_or_gives_arrays(data: st.DataObject):
    damaged = bytearray(INDEX)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(INDEX) - 1))] = data.draw(st.integers(0, 255))
    try:
        tensors = tensors_from_checkpoint(bytes(damaged), DATA)
    except MerError:
        pass  # any other error is a failure
    else:
        assert sum(values.nbytes for values in tensors.values()) <= len(TENSORS) * len(DATA)


@pytest.mark.parametrize(
    ("index", "data", "reason"),
    [
        (b"", DATA, "the index has no footer"),
        (INDEX[:-1] + b"\0", DATA, "the index has no footer"),
        (INDEX[60:], DATA, ""),
        (INDEX, DATA[:-8], "ends too early"),
        (INDEX, b"", "ends too early"),
    ],
)
def test_a_truncated_checkpoint_is_refused(index: bytes, data: bytes, reason: str):
    with pytest.raises(MerError, match=f"no readable TensorFlow checkpoint: .*{reason}"):
        tensors_from_checkpoint(index, data)
