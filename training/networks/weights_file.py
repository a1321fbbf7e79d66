"""Weights to begin with, from a file that someone else wrote: unwrapped, renamed, and checked one by one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...engine.artifact import ENGINE_SUFFIXES
from ...engine.errors import MerError, UsageError

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What DataParallel, torch.compile and others put into names, at the start or inside."""

_OWNERS = ("model.", "net.", "network.", "backbone.", "encoder.")
"""What the class that held the network puts before every name."""

_ENTRIES = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model_state",
    "model", "network", "net", "weights", "params",
)  # fmt: skip
"""Where training scripts put the weights beside their optimizer's; averaged ones, the better, first."""

_COUNTERS = {"n_averaged", "num_updates"}  # of averaged weights

# torchvision's published DenseNets have names from before torch forbade dots in them.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def state_dict_from_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or ``torch.save`` file, by their names in a plain network.

    A state dict may lie inside a training script's dict. Names lose the prefixes of DataParallel,
    torch.compile and Lightning.

    Raises:
        UsageError: no such file, or a TensorRT engine.
        MerError: it is no state dict, or a pickle of something else, which is not loaded.
    """
    if not path.is_file():
        raise UsageError(
            f"weights {path}: no such file; give a file, a training's folder, the name of a known model, "
            "musicnn-msd, musicnn-mtt, imagenet or none"
        )
    if path.suffix.lower() in ENGINE_SUFFIXES:
        raise UsageError(
            f"weights {path}: nothing can be trained from an engine: give the folder of its run, the "
            "checkpoint.safetensors in it, or its FP32 .onnx"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of several lines, about old and odd pickles
            is_safe = path.suffix.lower() == ".safetensors"
            content: Any = load_file(path) if is_safe else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError:
        raise MerError(
            f"{path} is not a plain state dict, and pickles are not loaded: "
            "save model.state_dict() alone where it was made"
        ) from None
    except OSError as error:
        raise MerError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # of any type: the bytes are anyone's, and torch's messages advise to trust them
        raise MerError(f"{path} holds no weights: it is cut short, damaged, or of another format") from None
    return _plain_names(_unwrapped(content, path), path)


def load_weights(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Copies ``state`` into the network, whose ``name`` is for the message.

    Raises:
        MerError: a tensor is missing, unknown, of another shape or kind, or holds a value that is not finite.
    """
    state = {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    own = network.state_dict()
    # Older files have no counters of BatchNorm's batches, and nothing here reads them.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    others = [key for key, tensor in state.items() if key in own and not _fits(tensor, own[key])]
    reasons = [_listed("missing", missing), _listed("unexpected", unexpected)]
    if others:
        reasons.append(
            f"{others[0]} is {_kind(state[others[0]])}, not {_kind(own[others[0]])}{_more(others)}"
        )
    if any(reasons):
        raise MerError(f"the weights do not fit {name}: {'; '.join(filter(None, reasons))}")
    if reason := not_finite(state):
        raise MerError(reason)
    network.load_state_dict({**own, **state})


def bytes_of_tensors(state: Mapping[str, Tensor]) -> Iterator[bytes]:
    """Names, shapes and values in a fixed order, for a digest of them."""
    for name, tensor in sorted(state.items()):
        yield f"{name}{tuple(tensor.shape)}".encode()
        yield np.ascontiguousarray(tensor.cpu().numpy()).tobytes()


def not_finite(state: Mapping[str, Tensor]) -> str:
    """That weights are no numbers, and which; "" if all are."""
    broken = [key for key, tensor in state.items() if not torch.isfinite(tensor.float()).all()]
    return f"the weights hold NaN or infinity, in {broken[0]}{_more(broken)}" if broken else ""


def _unwrapped(content: Any, path: Path) -> Mapping[str, Tensor]:
    for _ in range(4):  # dicts in dicts
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in _ENTRIES if isinstance(content.get(key), Mapping)]
        if inner:  # before tensors that stand beside it, such as a figure of the training's
            content = inner[0]
            continue
        tensors = {key: tensor for key, tensor in content.items() if isinstance(tensor, Tensor)}
        if tensors and all(isinstance(key, str) for key in tensors):
            return tensors
        break
    raise MerError(f"{path} holds no state dict (names and tensors, alone or under {', '.join(_ENTRIES)})")


def _plain_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _WRAPPERS.sub("", key)
        if name in _COUNTERS:
            continue
        if name in plain:
            raise MerError(f"{path} holds {name} twice, once as {key}")
        plain[name] = tensor
    for owner in _OWNERS:
        if plain and all(name.startswith(owner) for name in plain):
            plain = {name.removeprefix(owner): tensor for name, tensor in plain.items()}
    return plain


def _fits(tensor: Tensor, own: Tensor) -> bool:
    dense = tensor.layout == torch.strided and not tensor.is_meta
    return dense and tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


def _kind(tensor: Tensor) -> str:
    sparse = "" if tensor.layout == torch.strided else "sparse "
    return f"{sparse}{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _listed(what: str, keys: list[str]) -> str:
    return f"{what}: {keys[0]}{_more(keys)}" if keys else ""


def _more(keys: list[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""
