"""As if PyCUDA were not installed; pytest reads this file in its own process too."""

from __future__ import annotations

import os
import sys

if os.environ.get("STUB_CUDA") == "cuda-bindings":
    sys.modules["pycuda"] = None  # pyright: ignore[reportArgumentType]
