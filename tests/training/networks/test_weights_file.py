"""Weights are loaded from how others save them; what does not fit is named, and NaN is no beginning."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from merkit.engine.errors import MerError, UsageError
from merkit.training.networks.backbones import PAPER_BACKBONES, build_backbone
from merkit.training.networks.weights_file import _WRAPPERS, load_weights, state_dict_from_file
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

State = dict[str, Tensor]


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def _state() -> State:
    torch.manual_seed(3)
    return _network().state_dict()


def _saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def _prefixed(prefix: str) -> Callable[[State], object]:
    return lambda state: {prefix + key: tensor for key, tensor in state.items()}


_WAYS: Mapping[str, Callable[[State], object]] = {
    "plain": lambda state: state,
    "DataParallel": _prefixed("module."),
    "compiled": _prefixed("_orig_mod."),
    "both": _prefixed("module._orig_mod."),
    "both, the other way": _prefixed("_orig_mod.module."),
    "a part compiled": lambda state: {key.replace("0.", "0._orig_mod.", 1): t for key, t in state.items()},
    "averaged": lambda state: {"n_averaged": torch.tensor(7), **_prefixed("module.")(state)},  # pyright: ignore
    "Lightning": lambda state: {
        "state_dict": _prefixed("model.")(state), "epoch": 3, "pytorch-lightning_version": "2.5"
    },
    "state_dict": lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"epoch": 9, "model_state_dict": state, "loss": 0.5},
    "model": lambda state: {"model": state, "best_acc1": torch.tensor(71.3)},
    "in two": lambda state: {"checkpoint": None, "model": {"state_dict": _prefixed("module.")(state)}},
    "ema is the better": lambda state: {
        "model": {key: tensor * 0 for key, tensor in state.items()}, "model_ema": _prefixed("module.")(state)
    },
    "no counters": lambda state: {k: t for k, t in state.items() if "num_batches" not in k},
}  # fmt: skip


@pytest.mark.parametrize("way", _WAYS)
def test_the_ways_to_save_weights(tmp_path: Path, way: str):
    state, network = _state(), _network()
    load_weights(network, "net", state_dict_from_file(_saved(tmp_path / "w.pth", _WAYS[way](state))))
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(tmp_path: Path, kind: torch.dtype):
    state, network = _state(), _network()
    save_file(
        {key: tensor.to(kind) if tensor.is_floating_point() else tensor for key, tensor in state.items()},
        tmp_path / "w.safetensors",
    )
    load_weights(network, "net", state_dict_from_file(tmp_path / "w.safetensors"))
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, state[key], rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"3.weight": None}, r"do not fit net: missing: 3.weight$"),
        ({"3.weight": None, "3.bias": None}, r"missing: 3.weight and 1 more$"),
        ({"fc.bias": torch.zeros(1)}, r"unexpected: fc.bias$"),
        ({"3.weight": torch.zeros(4, 8)}, r"3.weight is float32 \[4, 8\], not float32 \[3, 8\]$"),
        ({"3.weight": torch.zeros(3, 8, dtype=torch.int8)}, r"3.weight is int8 \[3, 8\], not float32"),
        ({"3.weight": torch.zeros(3, 8).to_sparse()}, r"3.weight is sparse float32"),
        ({"3.bias": torch.tensor([0, float("nan"), 0])}, r"hold NaN or infinity, in 3.bias$"),
        ({"3.bias": torch.tensor([0, 1e300, 0], dtype=torch.float64)}, r"hold NaN or infinity, in 3.bias$"),
        ({"1.running_var": torch.tensor([float("inf"), 0])}, r"hold NaN or infinity, in 1.running_var$"),
    ],
)
def test_what_does_not_fit_is_named(change: Mapping[str, Tensor | None], reason: str):
    state = {key: tensor for key, tensor in {**_state(), **change}.items() if tensor is not None}
    network, before = _network(), _state()
    network.load_state_dict(before)
    with pytest.raises(MerError, match=reason):
        load_weights(network, "net", state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_name_that_is_there_twice(tmp_path: Path):
    both = {**_state(), "module.3.bias": torch.zeros(3)}
    with pytest.raises(MerError, match=r"holds 3.bias twice, once as module.3.bias"):
        state_dict_from_file(_saved(tmp_path / "w.pth", both))


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Path()}))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b""), "cut short, damaged, or of another format"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "cut short, damaged, or of another format"),
        (lambda path: path.write_bytes(b"\x80\x02]q"), "cut short, damaged, or of another format"),
        (_pickled, "pickles are not loaded"),
        (lambda path: torch.save(nn.Linear(1, 1), path), "pickles are not loaded"),
        (lambda path: torch.save([torch.zeros(1)], path), "holds no state dict"),
        (lambda path: torch.save({"epoch": 3, "model": 5}, path), "holds no state dict"),
        (lambda path: torch.save({}, path), "holds no state dict"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_files_that_are_something_else(tmp_path: Path, write: Callable[[Path], object], reason: str):
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(MerError, match=reason) as refused:
        state_dict_from_file(path)
    assert len(str(refused.value).splitlines()) == 1


def test_no_file(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file; give a file, a training"):
        state_dict_from_file(tmp_path / "nothing.pth")
    with pytest.raises(UsageError, match="no such file"):
        state_dict_from_file(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(MerError, match="cut short, damaged"):
        state_dict_from_file(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", PAPER_BACKBONES)
def test_no_name_of_a_network_is_a_wrappers(name: str):
    builder = {
        "mobilenetv2": "mobilenet_v2",
        "mobilenetv3": "mobilenet_v3_small",
        "squeezenet": "squeezenet1_0",
    }
    with torch.device("meta"):
        network = models.get_model(builder.get(name, name), weights=None)
    assert not [key for key in network.state_dict() if _WRAPPERS.search(key)]


def test_a_backbone_begins_with_them(tmp_path: Path):
    torch.manual_seed(1)
    theirs = models.squeezenet1_0().state_dict()
    path = _saved(tmp_path / "w.pth", {"state_dict": {f"module.{key}": t for key, t in theirs.items()}})
    ours = build_backbone("squeezenet", 4, str(path)).state_dict()
    assert torch.equal(ours["features.3.squeeze.weight"], theirs["features.3.squeeze.weight"])
    with pytest.raises(
        MerError, match=r"do not fit mobilenetv3: missing: features.0.0.weight and \d+ more; unexp"
    ):
        build_backbone("mobilenetv3", 4, str(path))


def test_published_densenets_have_dots_where_torch_has_none_any_more():
    with torch.device("meta"):
        network = models.densenet121(weights=None)
    names = [key for key in network.state_dict() if "num_batches_tracked" not in key]
    # As torchvision's own loader describes the files: norm.1, conv.2 inside the dense layers.
    published = {
        ".".join(
            f"{part[:-1]}.{part[-1]}" if part in ("norm1", "norm2", "conv1", "conv2") else part
            for part in key.split(".")
        ): network.state_dict()[key]
        for key in names
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    network = models.densenet121(weights=None)
    load_weights(network, "densenet121", {key: torch.zeros(t.shape) for key, t in published.items()})
    assert not network.features.denseblock1.denselayer1.norm1.weight.any()  # pyright: ignore


@pytest.mark.parametrize("name", ["squeezenet.sm_90.engine", "model.PLAN", "a.trt"])
def test_an_engine_is_told_what_to_give_instead(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"ftrt" + bytes(60))
    said = rf"{name}: nothing can be trained from an engine: give the folder of its run, .* its FP32 \.onnx"
    with pytest.raises(UsageError, match=said):
        state_dict_from_file(tmp_path / name)
