"""Imports NVIDIA DALI when it is first needed: it is large, and exists for Linux only."""

from __future__ import annotations

from typing import Any

from ..errors import DaliMissingError


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
    except (ImportError, OSError) as error:  # OSError: a library that it loads itself is missing
        raise DaliMissingError(
            f'DALI is not installed ({error}): pip install "merkit[gpu]" (on Linux)'
        ) from None
    return nvidia.dali
