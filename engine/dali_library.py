"""NVIDIA DALI, imported where it is needed: it is big, and only on Linux."""

from __future__ import annotations

from typing import Any

from .errors import DaliMissingError


def dali_module() -> Any:
    """The module ``nvidia.dali`` with its ``fn``, ``math`` and ``types``.

    Raises:
        DaliMissingError: DALI is not installed, or cannot be loaded.
    """
    try:
        import nvidia.dali
        import nvidia.dali.fn
        import nvidia.dali.math
        import nvidia.dali.types
    except ImportError as error:
        raise DaliMissingError(
            f'DALI is not installed ({error}): pip install "merkit[gpu]" (on Linux)'
        ) from None
    return nvidia.dali
