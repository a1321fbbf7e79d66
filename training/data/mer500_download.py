"""MER500 from Kaggle, through Kaggle's own client."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import MerError

DATASET = "makvel/mer500"


def mer500_from_kaggle() -> Path:
    """The folder of the unpacked archive; kagglehub keeps it and fetches it once.

    Raises:
        MerError: kagglehub is not installed, there are no credentials, or no network.
    """
    try:
        import kagglehub  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MerError(
            f"--download needs kagglehub: pip install 'merkit[download]'; "
            f"or fetch {DATASET} by hand and give --data"
        ) from None
    try:
        return Path(kagglehub.dataset_download(DATASET))
    except Exception as error:  # its own kinds differ by version; none of them is ours
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MerError(
            f"{DATASET} cannot be downloaded: {reason}; see to the network and to the credentials in "
            "~/.kaggle/kaggle.json (kaggle.com, Settings, Create New Token), or fetch it by hand and give "
            "its folder: --data"
        ) from None
