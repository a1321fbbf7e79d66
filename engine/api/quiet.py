"""Nothing is sent to anybody: the switches by which libraries stop reporting that they are used."""

from __future__ import annotations

import os
import sys

# Each library reads its switch when it is first imported, so ``merkit`` sets them all when it is, in every
# process. A user who wants a report sent sets the variable, or imports ``openvino_telemetry``, before.
_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: events to Microsoft, a database in the user's cache
    "RAY_USAGE_STATS_ENABLED": "0",
}


def send_nothing() -> None:
    """Sets the switches that the environment does not set already."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    # ``import openvino`` sends an event to Google Analytics where this package is installed, and its only
    # switch is a file in the home folder. OpenVINO goes on without it, as where it is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType, reportCallIssue]
