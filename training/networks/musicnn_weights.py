"""MusiCNN's published weights: taken out of its package, checked, and kept as safetensors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...engine.arrays import Float32
from ...engine.artifact import models_home
from ...engine.errors import MerError, UsageError, os_errors_say
from ...engine.files import write_whole
from .musicnn import MusiCNN
from .tensorflow_checkpoint import tensors_from_checkpoint

MUSICNN_WEIGHTS: Mapping[str, str] = {"musicnn-msd": "MSD_musicnn", "musicnn-mtt": "MTT_musicnn"}
"""The names of the published weights, to their folders in the package: trained on the Million Song Dataset's
and on MagnaTagATune's tags."""

NOTICE = """\
MusiCNN's weights (https://github.com/jordipons/musicnn), ISC licence:

Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019.
Code developed by Jordi Pons (www.jordipons.me).

Permission to use, copy, modify, and/or distribute this software for any purpose with or
without fee is hereby granted, provided that the above copyright notice and this permission
notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS
SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL
THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY
DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF
CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE
OR PERFORMANCE OF THIS SOFTWARE.
"""
"""Of the authors; it goes wherever their weights go, also trained further."""

_REQUIREMENT = "musicnn==0.1.0"
_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_WHEEL_BYTES = 100_000_000  # three times the published wheel's; a larger file is not read to be hashed
_FETCH_S = 600


def is_musicnn_weights(weights: str) -> bool:
    """Whether this is a name of published weights, or a file of the package that holds them."""
    return weights in MUSICNN_WEIGHTS or weights.lower().endswith(".whl")


def musicnn_state(
    weights: str, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> dict[str, Tensor]:
    """The state dict of a ``MusiCNN`` with its 50 tags as outputs.

    Weights are kept in ``$MER_HOME/weights``. They are taken out of the package's wheel the first time, and
    pip fetches that (29 MB) where none is given; nothing of the package is installed or run.

    Args:
        weights: "musicnn-msd", "musicnn-mtt", or the wheel, a file, which gives the former.
        say: called with one line before something is fetched.

    Raises:
        UsageError: no such file.
        MerError: the wheel cannot be fetched or is another one, or the weights cannot be kept.
    """
    if weights not in MUSICNN_WEIGHTS:
        _keep(_checked_wheel(Path(weights)))
        weights = next(iter(MUSICNN_WEIGHTS))
    kept = _home() / f"{weights}.safetensors"
    if not kept.is_file():
        _keep(_fetched_wheel(say))
    try:
        return load_file(kept)
    except Exception as error:  # safetensors' own class of error is not all that it raises
        raise MerError(f"{kept} cannot be read ({error}); remove it, and it is made anew") from None


def _home() -> Path:
    return models_home().parent / "weights"


def _fetched_wheel(say: Callable[[str], None]) -> bytes:
    say(f"fetching MusiCNN's weights once, 29 MB: pip download {_REQUIREMENT}; kept in {_home()}")
    with TemporaryDirectory() as folder:
        # Wheels only: pip runs the code of a source package even to download it.
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "-q"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, _REQUIREMENT]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_FETCH_S
            )
            reason = (done.stderr.strip().splitlines() or [""])[-1][:300]
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)[:300]
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise MerError(
                f"MusiCNN's weights cannot be fetched: {reason or 'pip gave no file'}; run pip download "
                f"--no-deps {_REQUIREMENT} where there is a network, and give its .whl as the weights"
            )
        return _checked_wheel(wheels[0])


def _checked_wheel(path: Path) -> bytes:
    """The wheel's content, if it is the published one, byte for byte."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give musicnn-msd, musicnn-mtt, or {_REQUIREMENT}'s .whl")
    with os_errors_say(f"{path} cannot be read"):
        content = path.read_bytes() if path.stat().st_size <= _WHEEL_BYTES else b""
    if hashlib.sha256(content).hexdigest() != _WHEEL_SHA256:
        raise MerError(f"{path} is not the wheel of {_REQUIREMENT} that PyPI holds (another SHA-256)")
    return content


def _keep(wheel: bytes) -> None:
    """Writes both checkpoints of a wheel, and the notice beside them."""
    home = _home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_whole(home / "musicnn-NOTICE.txt", NOTICE)
        with zipfile.ZipFile(BytesIO(wheel)) as archive:
            for name, folder in MUSICNN_WEIGHTS.items():
                index = archive.read(f"musicnn/{folder}/.index")
                values = archive.read(f"musicnn/{folder}/.data-00000-of-00001")
                state = _state_from_tensorflow(tensors_from_checkpoint(index, values))
                write_whole(home / f"{name}.safetensors", save(state, {"notice": NOTICE}))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise MerError(f"MusiCNN's weights cannot be kept in {home}: {error}") from None


def _state_from_tensorflow(theirs: Mapping[str, Float32]) -> dict[str, Tensor]:
    """TensorFlow's names and layouts to those of ``MusiCNN``; layers are numbered as they are built."""

    def layer(kind: str, number: int, part: str) -> Float32:
        return theirs[f"{kind}_{number}/{part}" if number else f"{kind}/{part}"]

    def scale(number: int) -> npt.NDArray[np.float64]:
        """By which a norm multiplies."""
        variance = layer("batch_normalization", number, "moving_variance").astype(np.float64)
        return layer("batch_normalization", number, "gamma") / np.sqrt(variance + 1e-3)

    parts: dict[str, npt.NDArray[np.floating]] = {}

    def norm(name: str, number: int, order: slice | np.ndarray = slice(None)) -> None:
        for ours, part in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            parts[f"{name}.{ours}"] = layer("batch_normalization", number, part)[order]

    norm("norm", 0)
    for i, name in enumerate(("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2")):
        factor = scale(i + 1)
        sign = np.where(factor < 0, np.float32(-1), np.float32(1))
        mean = layer("batch_normalization", i + 1, "moving_mean")
        # [frames, mels, 1, filters] to [filters, 1, mels, frames]
        kernel = layer("conv2d", i, "kernel").transpose(3, 2, 1, 0)
        parts[f"{name}.filters.weight"] = kernel * sign[:, None, None, None]
        parts[f"{name}.sign"] = sign
        parts[f"{name}.bias"] = layer("conv2d", i, "bias")
        parts[f"{name}.scale"] = factor
        parts[f"{name}.shift"] = layer("batch_normalization", i + 1, "beta") - mean * factor
    for i in range(3):
        # [frames, channels, 1, filters] to [filters, channels, 1, frames]
        parts[f"middle.{i}.0.weight"] = layer("conv2d", 5 + i, "kernel").transpose(3, 1, 2, 0)
        parts[f"middle.{i}.0.bias"] = layer("conv2d", 5 + i, "bias")
        norm(f"middle.{i}.2", 6 + i)
    # They put each channel's mean after its maximum; here all means follow all maxima.
    channels = len(layer("dense", 0, "kernel")) // 2
    order = np.arange(2 * channels).reshape(channels, 2).T.ravel()
    norm("embedding.0", 9, order)
    parts["embedding.2.weight"] = layer("dense", 0, "kernel")[order].T
    parts["embedding.2.bias"] = layer("dense", 0, "bias")
    norm("embedding.4", 10)
    parts["classifier.weight"] = layer("dense", 1, "kernel").T
    parts["classifier.bias"] = layer("dense", 1, "bias")
    state = {
        name: torch.from_numpy(np.array(values, np.float32, order="C")) for name, values in parts.items()
    }
    own = MusiCNN().state_dict()
    return {**{name: own[name].clone() for name in ("mean", "std")}, **state}
