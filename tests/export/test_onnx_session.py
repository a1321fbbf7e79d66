"""ONNX Runtime as checks and conversions open it."""

from __future__ import annotations

import multiprocessing

import pytest
from half_transformer import half_transformer
from merkit.engine.errors import MerError
from merkit.export.onnx_session import open_session


def test_what_it_refuses_is_one_line() -> None:
    with pytest.raises(MerError, match="loading the graph into ONNX Runtime failed: "):
        open_session(b"no graph")


def test_a_transformer_in_fp16_does_not_crash_the_process() -> None:
    content = half_transformer().SerializeToString()
    child = multiprocessing.get_context("spawn").Process(target=open_session, args=(content,))
    child.start()
    child.join()
    assert child.exitcode == 0
