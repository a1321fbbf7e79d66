"""The entries of a folder that its page of HTML links to, as servers write such listings."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

# Each character is looked at once, which html.parser does not promise: a page is what a server makes up.
_TAG = re.compile(
    r"""<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1|\Z)|"""
    r"""<(a|base)(?=[\s/])((?:=\s*+(?:"[^"]*+"?+|'[^']*+'?+|[^\s>]*+)|[^>=]++)*+)""",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s=/]++)(?:\s*+=\s*+(?:"([^"]*+)"?+|'([^']*+)'?+|([^\s>]*+)))?+""")
_REFERENCE = re.compile("&#?[0-9A-Za-z]+;")  # without a semicolon it is a part of the address: &region=
_PAGE_NAME = re.compile(r".+\.(?:html?|php|aspx?)", re.IGNORECASE)


def links_below(page: str, url: str) -> set[str]:
    """The URLs below a folder that its page links to. They begin as ``url`` is written.

    A page whose URL has no slash at the end is that of the folder of this name, or, where the name is that of
    a page (``index.html``), of the folder that holds it.
    """
    asked = urlsplit(url)
    folder = _folder_of(asked.path)
    base = urlunsplit((asked.scheme, asked.netloc, asked.path if asked.query else folder, "", ""))
    # urljoin drops empty parts of a path.
    joined = urlsplit(urljoin(urlunsplit((asked.scheme, asked.netloc, folder, "", "")), ".")).path
    below = set()
    for address in _addresses(page, base):
        with suppress(ValueError):  # a bracket that is not closed
            target = urlsplit(address)
            *above, rest = target.path.split("/", joined.count("/"))
            is_near = target.scheme in ("http", "https") and _server(target) == _server(asked)
            if rest and is_near and unquote("/".join([*above, ""])) == unquote(joined):
                user, at, server = asked.netloc.rpartition("@")
                server = server if target.scheme == asked.scheme else _server(target)
                below.add(urlunsplit(target._replace(netloc=user + at + server, path=folder + rest)))
    return below


def place_of_page(asked: str, reached: str) -> str:
    """Where a page stands that a redirect led to; as asked, where only a slash, a page or TLS was added.

    A name and a password stay with their server, and are not sent without TLS where they were sent with it.
    """
    before, after = urlsplit(asked), urlsplit(reached)
    if (before.hostname, before.port) != (after.hostname, after.port):
        return reached
    if after.scheme not in (before.scheme, "https"):
        return reached
    if unquote(_folder_of(before.path)) == unquote(_folder_of(after.path)):
        return asked
    user, at, _ = before.netloc.rpartition("@")
    return urlunsplit(after._replace(netloc=user + at + _server(after)))


def _folder_of(path: str) -> str:
    """The path of the folder that a page at ``path`` lists, with one slash at the end."""
    above, _, name = path.rpartition("/")
    return (above if _PAGE_NAME.fullmatch(name) else path).rstrip("/") + "/"


def _addresses(page: str, base: str) -> Iterator[str]:
    """The URLs of a page's links, relative to its first tag ``base`` or, without one, to ``base``."""
    is_told = False
    for tag, link in _links(page):
        with suppress(ValueError):
            if tag == "a":
                yield urljoin(base, link)
            elif not is_told:
                is_told = True
                base = urljoin(base, link)


def _links(page: str) -> Iterator[tuple[str, str]]:
    """The name of each tag that has an address, and the address."""
    for tag in _TAG.finditer(page):
        for name, *values in _ATTRIBUTE.findall(tag[3] or ""):
            if name.lower() == "href":
                address = _REFERENCE.sub(lambda found: html.unescape(found[0]), "".join(values)).strip()
                yield tag[2].lower(), address
                break


def _server(url: SplitResult) -> str:
    """The host, with its port where that is not the usual one."""
    server = url.netloc.rpartition("@")[2].lower()
    return server.removesuffix({"http": ":80", "https": ":443"}.get(url.scheme, ":"))
