"""What is set before anything else is imported: nothing is sent to anybody, and Ctrl-C ends a command."""

from __future__ import annotations

import os
import signal
import sys
import threading

# Each library reads its switch when it is first imported, so ``merkit`` sets them all when it is, in every
# process. A user who wants a report sent sets the variable, or imports ``openvino_telemetry``, before.
_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: events to Microsoft, a database in the user's cache
    "RAY_USAGE_STATS_ENABLED": "0",
}

_COMMANDS = {f"mer-{word}" for word in ("label", "train", "export", "bench", "eval")}


def send_nothing() -> None:
    """Sets the switches that the environment does not set already."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    # ``import openvino`` sends an event to Google Analytics where this package is installed, and its only
    # switch is a file in the home folder. OpenVINO goes on without it, as where it is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType, reportCallIssue]


def end_without_traceback() -> None:
    """Lets Ctrl-C end one of our commands while it is imported, until it has handlers of its own.

    Python would print where in an import it was. Other programs, and child processes that ignore Ctrl-C, are
    left alone.
    """
    name = os.path.basename(sys.argv[0] if hasattr(sys, "argv") and sys.argv else "").removesuffix(".exe")
    if name not in _COMMANDS or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
