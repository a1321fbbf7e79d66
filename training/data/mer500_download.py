"""MER500 from Kaggle, through Kaggle's own client."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import MerError

DATASET = "makvel/mer500"


def mer500_from_kaggle() -> Path:
    """The folder of the unpacked archive, which kagglehub downloads once and keeps.

    Raises:
        MerError: kagglehub is not installed, there are no credentials, or no network.
    """
    try:
        import kagglehub  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MerError(
            f"the download of {DATASET} needs kagglehub: pip install 'merkit[download]'; "
            "or download it by hand and train on its folder"
        ) from None
    try:
        return Path(kagglehub.dataset_download(DATASET))
    except Exception as error:  # kagglehub has no common base class, and its errors differ by version
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MerError(
            f"{DATASET} cannot be downloaded: {reason}; check the network and the credentials in "
            "~/.kaggle/kaggle.json (kaggle.com, Settings, Create New Token), or download it by hand and "
            "train on its folder"
        ) from None
