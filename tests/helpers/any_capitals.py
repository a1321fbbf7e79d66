"""A folder whose disk finds each name in any capitals or normal form, as those of Macs and Windows do."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest


def any_form(name: str) -> str:
    """What names have in common that ZFS takes for one."""
    return unicodedata.normalize("NFD", name)


def any_form_and_capitals(name: str) -> str:
    """What names have in common that APFS takes for one."""
    return any_form(any_form(name).casefold())


def find_any_capitals(
    folder: str | os.PathLike[str],
    monkeypatch: pytest.MonkeyPatch,
    alike: Callable[[str], str] = str.casefold,
) -> None:
    """From now on names below a folder are found so, by what looks at files or opens them with ``os``."""
    root, listed = os.path.realpath(folder), os.listdir

    def found(path: Any) -> Any:
        if not isinstance(path, str | os.PathLike):
            return path
        whole = os.path.normpath(os.path.join(os.getcwd(), path))
        if not whole.startswith(f"{root}/"):
            return path
        place = root
        for name in whole.removeprefix(f"{root}/").split("/"):
            try:
                names = listed(place)
            except OSError:
                return path
            others = (other for other in names if alike(other) == alike(name))
            place = f"{place}/{name if name in names else next(others, name)}"
        return place

    for function in ("stat", "lstat", "open", "listdir", "scandir", "readlink"):
        real = getattr(os, function)
        # ``real`` as a default: the loop goes on.
        monkeypatch.setattr(
            os, function, lambda path=".", *args, real=real, **named: real(found(path), *args, **named)
        )
