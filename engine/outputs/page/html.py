"""The page itself: a template, a stylesheet, scripts and the catalogue's data in one file."""

from __future__ import annotations

import html
from importlib import resources
from pathlib import Path

from ...errors import MerError, os_errors_say
from ...files import check_can_be_written, write_whole
from ...text.escape import for_terminal, policy_hash
from ..marks import has_mark, refuse_foreign
from .catalogue import Catalogue, catalogue_from_folder
from .packed import packed

_SCRIPTS = ("data.js", "list.js", "draw.js", "player.js", "page.js")
# Songs are played from where the page lies, on a disk or behind a server. Nothing else is loaded.
_POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; media-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)

_is_page = has_mark(b'<meta name="generator" content="mer-label page">')


def write_page(folder: Path, page: Path, title: str | None = None, keep_missing: bool = False) -> Catalogue:
    """Writes the page of a folder of labels, whole or not at all; returns what stands on it.

    Args:
        page: its file, ``.html``; links to songs are relative to the file's folder.
        title: what stands above it; by default the folder's name.
        keep_missing: do not leave out songs whose files are not there.

    Raises:
        UsageError: a file that is no such page has its name, or there can be no file of that name.
        MerError: ``folder`` is no folder of labels, none of its songs is there, or nothing can be written.
    """
    check_can_be_written(page)
    refuse_foreign(page, _is_page)
    catalogue = catalogue_from_folder(folder, page, keep_missing)
    if not catalogue.songs or (catalogue.missing and not catalogue.there and not keep_missing):
        raise MerError(
            f"{folder}: none of its {catalogue.missing} songs is there now, and no page was written"
            if catalogue.missing
            else f"{folder} holds no rows"
        )
    with os_errors_say(f"{page} cannot be written"):
        write_whole(page, html_from_catalogue(catalogue, title or folder.resolve().name))
    return catalogue


def html_from_catalogue(catalogue: Catalogue, title: str) -> str:
    """The page. Nothing in a catalogue can become markup: it is one block of Base64, shown as text only."""
    files = resources.files(__package__ or "")
    read = {name: (files / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *_SCRIPTS)}
    script = "\n".join(read[name] for name in _SCRIPTS)
    parts = {
        "POLICY": _POLICY.format(style=policy_hash(read["page.css"]), script=policy_hash(script)),
        "TITLE": html.escape(for_terminal(title)),
        "STYLE": read["page.css"],
        "SCRIPT": script,
        "DATA": packed(catalogue.about, catalogue.columns),
    }
    pieces = read["page.html"].split("@@")  # texts and names in turn: what was put in is not searched again
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))
