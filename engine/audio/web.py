"""HTTP for fsspec, within bounds: which addresses may be reached, how long a page is, what errors mean."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from .decoder import Limits
from .page_links import links_below, place_of_page

_MOST_PAGE_BYTES = 64 << 20  # of a listing; a million songs
_CONNECT_S = 20.0
_MOST_CHARACTERS = 100  # of what a server says of an error
_ENCODED = re.compile(r"(?=.*%)(?:[\w.~:/?#@!$&'()*+,;=-]|%[0-9a-f]{2})*", re.ASCII | re.IGNORECASE)
_TEXTS = re.compile(r"text/.+|application/(?:.+\+)?(?:json|xml)")
# Servers call songs texts too, whose first bytes are never all of one.
_TEXT = re.compile(rb"[^\0-\x08\x0b\x0e-\x1f\x7f]*")
_RANGE = re.compile("bytes 0-([0-9]{1,18})/([0-9]{1,18})")
_PASSING = (429, 502, 503, 504)
_NO_HTTP = "the server does not speak HTTP as it should"
_STATUS = {
    401: "it asks for a password or a token",
    403: "access is denied",
    407: "the proxy asks for a password",
    429: "too many requests: try again later",
}


class PrivateAddressError(OSError):
    """An address of this machine or network, which a list or a redirect may not reach."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, also inside of an IPv6 address that stands for IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ip in ipaddress.ip_network("64:ff9b::/96")
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if translated else inner or ip
    return ip.is_global and not ip.is_multicast


def host_of(url: str) -> str:
    """The host of a URL in lower case; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket that is not closed
        return ""


def web_filesystem(url: str, limits: Limits) -> Any:
    """fsspec's file system of http:// and https://, for this URL alone.

    Connections are checked where they are made, so no name, redirect or spelling of a number leads to
    another address than the one that was checked.

    Raises:
        ImportError: aiohttp is not installed.
    """
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    hosts = frozenset([host_of(url)]) if limits.private_hosts is None else limits.private_hosts
    now = {"host": host_of(url)}  # one request at a time: where the next connection leads

    def checked_socket(address: Any) -> socket.socket:
        if not limits.allow_private and now["host"] not in hosts and not is_public(address[4][0]):
            leads = "" if now["host"] == address[4][0] else f" leads to {address[4][0]}, which"
            raise PrivateAddressError(
                f"{now['host']}{leads} is an address of this machine or network: "
                "a list or a redirect may name it only where private addresses are allowed"
            )
        return socket.socket(*address[:3])

    async def redirected(session: Any, context: Any, redirect: Any) -> None:
        headers = redirect.response.headers
        target = headers.get("Location") or headers.get("URI") or ""
        now["host"] = host_of(str(redirect.response.url.join(_url_as_sent(target))))
        session._requote_redirect_url = not _ENCODED.fullmatch(target)  # aiohttp asks next: as _url_as_sent

    class Page(aiohttp.ClientResponse):
        """An answer whose text, read at once, has a limit."""

        async def read(self) -> bytes:
            if self._body is None:
                self._body = b"".join([part async for part in _limited(self.content)])
            return self._body

    async def client(**_: Any) -> Any:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(redirected)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=checked_socket),
            timeout=aiohttp.ClientTimeout(total=limits.seconds, sock_connect=_CONNECT_S),
            trace_configs=[trace],
            # Some servers refuse aiohttp's own name, as that of a robot. Songs are packed already.
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            response_class=Page,
        )

    class Pages(HTTPFileSystem):
        """Finds links as a browser does: fsspec's pattern stops at quotes and leaves ``&amp;`` as it is."""

        def encode_url(self, url: str) -> Any:
            now["host"] = host_of(url)  # each request begins anew, after redirects of the one before
            return _url_as_sent(url)

        async def _ls_real(self, url: str, detail: bool = True, **kwargs: Any) -> list[Any]:
            session = await self.set_session()
            async with session.get(self.encode_url(url), **self.kwargs) as response:
                self._raise_not_found_for_status(response, url)
                kind = response.headers.get("Content-Type", "text/html").partition(";")[0]
                page = await response.text(errors="ignore") if kind == "text/html" else ""
                place = place_of_page(url, str(response.url)) if response.history else url
            names = sorted(links_below(page, place))
            if not detail:
                return names
            kinds = {True: "directory", False: "file"}
            return [{"name": name, "size": None, "type": kinds[name.endswith("/")]} for name in names]

    return Pages(get_client=client, skip_instance_cache=True)


@cache
def _user_agent() -> str:
    from importlib import metadata  # it takes long, and only URLs need it

    try:
        return f"merkit/{metadata.version('merkit')}"
    except metadata.PackageNotFoundError:  # a copy that was not installed
        return "merkit"


def _url_as_sent(url: str) -> Any:
    """The URL as aiohttp takes it; one that is percent-encoded stays as it is: a signature may be of it.

    Any other is encoded, as one with blanks, letters that are not ASCII, or a ``%`` that is only itself.
    """
    import yarl

    return yarl.URL(url, encoded=bool(_ENCODED.fullmatch(url)))


async def _limited(content: Any) -> AsyncIterator[bytes]:
    size = 0
    async for part in content.iter_any():
        size += len(part)
        if size > _MOST_PAGE_BYTES:
            raise ValueError(f"the page is longer than {_MOST_PAGE_BYTES >> 20} MB")
        yield part


def reason_for_no_song(response: Any, head: bytes) -> str | None:
    """Why an answer that is no error is no song either, as it may be another day; None where it may be one.

    Args:
        response: that of aiohttp.
        head: the first bytes of what it sent.
    """
    sent = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    is_whole = response.status == 206 and sent and int(sent[1]) + 1 == int(sent[2])
    if response.status not in (200, 203) and not is_whole:
        return f"HTTP {response.status}: the server sent no song"
    if not head:
        return "the server sent nothing"
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if _TEXTS.fullmatch(kind) and _TEXT.fullmatch(head):
        return f"the server sent a {'web page' if 'html' in kind else 'text'} ({kind}), no song"
    return None


def seconds_until_retry(error: Exception, pause_s: float) -> float | None:
    """How long to wait before the same is asked again; None where the answer would be the same.

    Args:
        pause_s: where the server names no time.
    """
    try:
        import aiohttp
    except ImportError:
        return None
    if isinstance(error, aiohttp.ClientResponseError):
        asked = (error.headers or {}).get("Retry-After", "")
        return _seconds_asked_for(asked.strip(), pause_s) if error.status in _PASSING else None
    lost = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError)
    is_lost = isinstance(error, lost) and not isinstance(error, aiohttp.ClientConnectorError)
    return pause_s if is_lost and not _is_packed_wrongly(error) else None


def _seconds_asked_for(asked: str, pause_s: float) -> float:
    """What ``Retry-After`` says: seconds, or a date."""
    if asked.isascii() and asked.isdecimal():
        return float(asked)
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    return pause_s


def reason_from_web(error: BaseException) -> str | None:
    """What an error of HTTP means, as one line without an end; None for errors of another kind."""
    try:
        import aiohttp
    except ImportError:
        return None
    if private := _cause(error, PrivateAddressError):
        return str(private)
    if isinstance(error, aiohttp.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, aiohttp.ClientResponseError):
        if isinstance(error.__cause__, aiohttp.http.HttpProcessingError):  # its status is made up
            return f"{_NO_HTTP}: {_line(error.message)}"
        what = _STATUS.get(error.status) or (
            "the server fails, another day it may not" if error.status >= 500 else _line(error.message)
        )
        return f"HTTP {error.status}: {what}" if what else f"HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {error.host} is not valid: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"{error.host} does not speak TLS as it should: {_text(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no host {error.host}: its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionRefusedError):
            return f"{error.host}, port {error.port}, refuses the connection"
        return f"{error.host} cannot be reached: {_text(error.os_error)}"
    if isinstance(error, getattr(aiohttp, "NonHttpUrlRedirectClientError", ())):  # of aiohttp 3.10
        return f"the server redirects to what is no URL of http or https: {_line(str(error))}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL is not valid"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the server does not answer in time"
    if _is_packed_wrongly(error):
        return f"{_NO_HTTP}: what it sent is not encoded as its Content-Encoding says"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the server ended the connection before all was sent"
    return None


def _is_packed_wrongly(error: BaseException) -> bool:
    """Whether an answer is there, and is not encoded as its head says: the same would come again."""
    from aiohttp.http_exceptions import ContentLengthError, PayloadEncodingError, TransferEncodingError

    cut_short = (ContentLengthError, TransferEncodingError)
    return isinstance(error.__cause__, PayloadEncodingError) and not isinstance(error.__cause__, cut_short)


def note_on_proxies(url: str, error: BaseException) -> str:
    """What else to say of a connection that failed: a proxy that the environment names was not asked."""
    if not isinstance(error, OSError | asyncio.TimeoutError) or _cause(error, PrivateAddressError):
        return ""
    proxies = getproxies_environment()
    is_named = url.partition("://")[0].lower() in proxies and not proxy_bypass(host_of(url))
    return " (the environment names a proxy: proxies are not used)" if is_named else ""


def _line(message: str) -> str:
    """The first line of a message that others wrote, without the bytes that it quotes."""
    return re.split("[\r\n]|: b['\"]", message, maxsplit=1)[0].rstrip(" :")[:_MOST_CHARACTERS]


def _text(error: OSError) -> str:
    """What an error of the system says; of one without a text, its class in words."""
    name = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower().removesuffix(" error")
    return error.strerror or str(error) or name


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error of this kind that an error came from."""
    for _ in range(10):
        if error is None or isinstance(error, kind):
            return error
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return None
