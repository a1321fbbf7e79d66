import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec

import pytest
from merkit.engine.audio.dali_library import dali_module
from merkit.engine.errors import DaliMissingError


def test_it_is_imported_with_its_parts() -> None:
    pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")
    dali = dali_module()
    assert dali.fn.spectrogram
    assert dali.types.FLOAT


def test_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(DaliMissingError, match=r'DALI is not installed .*pip install "merkit\[gpu\]"'):
        dali_module()


def test_where_a_library_of_its_own_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "nvidia.dali":
                raise OSError("libcuda.so.1: cannot open shared object file")

    for name in [name for name in sys.modules if name.startswith("nvidia")]:
        monkeypatch.delitem(sys.modules, name)
    package = module_from_spec(ModuleSpec("nvidia", None, is_package=True))
    monkeypatch.setitem(sys.modules, "nvidia", package)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(DaliMissingError, match=r"libcuda\.so\.1"):
        dali_module()
