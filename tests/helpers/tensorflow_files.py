"""TensorFlow checkpoints as TensorFlow writes them, and MusiCNN's package made of such."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Tensors = Mapping[str, np.ndarray]
FOLDERS = ("MSD_musicnn", "MTT_musicnn")


def checkpoint_from_tensors(tensors: Tensors) -> tuple[bytes, bytes]:
    """The ``.index`` and the ``.data`` of a checkpoint; each half of the entries is a block."""
    data, entries = b"", [(b"", _field(1, 1))]  # an empty key: the header, of one data file
    for name, values in sorted(tensors.items()):
        kind = {"float32": 1, "int32": 3}[values.dtype.name]
        shape = b"".join(_bytes(2, _field(1, size)) for size in values.shape)
        entry = _field(1, kind) + _bytes(2, shape) + _field(4, len(data)) + _field(5, values.nbytes)
        entries.append((name.encode(), entry + b"\x35" + bytes(4)))  # field 6, fixed32: a checksum
        data += values.tobytes()
    index, handles = b"", []
    half = (len(entries) + 1) // 2
    for part in (entries[:half], entries[half:]):
        if part:
            handles.append((part[-1][0], _varint(len(index)) + _varint(len(_block(part)))))
            index += _block(part) + bytes(5)  # stored as it is, and a checksum
    footer = b""
    for block in (_block([]), _block(handles)):
        footer += _varint(len(index)) + _varint(len(block))
        index += block + bytes(5)
    return index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"), data


def random_musicnn(seed: int = 0, tags: int = 50) -> dict[str, np.ndarray]:
    """MusiCNN's tensors by TensorFlow's names, in its order of building; norms of either sign."""
    rng = np.random.default_rng(seed)
    kernels = [(7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)]
    kernels += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    weights = {"conv2d": kernels, "dense": [(1506, 200), (200, tags)]}
    tensors = {"beta1_power": np.array([0.9], np.float32), "global_step": np.array([7], np.int32)}
    for kind, shapes in weights.items():
        for i, shape in enumerate(shapes):
            name = f"{kind}_{i}" if i else kind
            tensors[f"{name}/kernel"] = rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
            tensors[f"{name}/bias"] = rng.normal(0, 0.3, shape[-1])
            tensors[f"{name}/kernel/Adam"] = np.zeros(3)
    for i, width in enumerate((1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200)):
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        tensors[f"{name}/gamma"] = rng.uniform(0.5, 1.5, width) * rng.choice((-1, 1), width)
        tensors[f"{name}/beta"] = rng.normal(0, 0.3, width)
        tensors[f"{name}/moving_mean"] = rng.normal(0, 0.3, width)
        tensors[f"{name}/moving_variance"] = rng.uniform(0.5, 2, width)
    return {name: v if v.dtype == np.int32 else v.astype(np.float32) for name, v in tensors.items()}


def write_musicnn_wheel(path: Path, both: tuple[Tensors, Tensors]) -> bytes:
    """Writes a wheel that holds the MSD and the MTT weights, and returns its content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for folder, tensors in zip(FOLDERS, both, strict=True):
            index, data = checkpoint_from_tensors(tensors)
            archive.writestr(f"musicnn/{folder}/.index", index)
            archive.writestr(f"musicnn/{folder}/.data-00000-of-00001", data)
    path.write_bytes(content.getvalue())
    return content.getvalue()


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """LevelDB's: keys without what they share with the one before, and where the first stands."""
    block, before = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), None)
        shared = min(len(before), len(key)) if shared is None else shared
        block += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return block + bytes(4) + (1).to_bytes(4, "little")


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
