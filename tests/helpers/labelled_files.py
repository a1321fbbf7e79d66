"""Data sets of files that hold their own name: enough to be told apart."""

from __future__ import annotations

from pathlib import Path


def write_files(root: Path, *names: str, **contents: str) -> Path:
    """Writes files below ``root``; those in ``contents`` hold that text (``__`` in a name is a slash)."""
    texts = {name: name for name in names}
    texts |= {f"{name.replace('__', '/')}.wav": text for name, text in contents.items()}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
