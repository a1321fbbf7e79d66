"""The links of pages that list a folder."""

from __future__ import annotations

import time

import pytest
from merkit.engine.audio.page_links import links_below, place_of_page


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ('<a href="R&amp;B.mp3">', "R&B.mp3"),
        ('<a href="Drum%20&amp;%20Bass/">', "Drum%20&%20Bass/"),
        ('<a href="it\'s.wav">', "it's.wav"),
        ('<a href="./R&amp;B.wav">', "R&B.wav"),
        ('<a href="q.wav?sig=1&amp;x=2">', "q.wav?sig=1&x=2"),
        ("<A HREF=a.wav>", "a.wav"),
        ('<a class="x"\n href = " a.wav ">', "a.wav"),
        ('<a href="http-music.wav">', "http-music.wav"),
        ('<a href="x;y.wav">', "x;y.wav"),
        ('<a href="/m%20a//song.wav">', "/song.wav"),
        ('<a href="/m a/song.wav">', "song.wav"),
        ('<a href="//Host:8/m%20a/song.wav">', "song.wav"),
        ('<a href="http://host:8/m%20a/sub/song.wav">', "sub/song.wav"),
        ('<a href="//host/m%20a/song.wav">', None),
        ('<a href="http://other:8/m%20a/song.wav">', None),
        ('<a href="http://host:8%2Fm%20a/song.wav">', None),
        ('<a href="/song.wav">', None),
        ('<a href="../song.wav">', None),
        ('<a href="?C=N;O=D">', None),
        ('<a href="#top">', None),
        ('<a href="/m%20a/">', None),
        ('<a href="http://[bad/song.wav">', None),
        ('<a href="mailto:song.wav">', None),
        ("<a name=x href>", None),
        ("<a title='x href=b.wav > c' href=it's.wav>", "it's.wav"),
        ('<a href="a.wav?x=1&region=2&amp;y">', "a.wav?x=1&region=2&y"),
        ('<a href="&#x42;&#38;&eacute;.wav">', "B&\xe9.wav"),
        ('<a name="x" href="a.wav', "a.wav"),
        ("<script>'<a href=a.wav>'</script><abbr href=b.wav>", None),
        ('<link href="a.wav"><!-- <a href="b.wav"> -->', None),
    ],
)
@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("http://host:8/m%20a/", "http://host:8/m%20a/"),
        ("http://host:8/m a", "http://host:8/m a/"),
        ("http://u:p@host:8//m%20a//", "http://u:p@host:8//m%20a/"),
        ("http://host:8/m%20a/?C=M", "http://host:8/m%20a/"),
    ],
)
def test_links_as_servers_write_them(tag: str, found: str | None, url: str, folder: str) -> None:
    assert links_below(f"<p>{tag}", url) == ({folder + found} if found else set())


def test_of_a_page_without_a_slash_what_a_question_leads_to_is_not_below_it() -> None:
    assert links_below('<a href="a.wav">', "http://host/list?page=1") == set()


@pytest.mark.parametrize(
    ("url", "link", "found"),
    [
        ("http://host/m/index.html", "a.wav", "http://host/m/a.wav"),
        ("http://host/m/index.html", "/m/sub/", "http://host/m/sub/"),
        ("http://host/m/index.html", "../a.wav", None),
        ("http://host/m/index.html", "index.html/a.wav", "http://host/m/index.html/a.wav"),
        ("http://host/INDEX.HTM", "./a.wav", "http://host/a.wav"),
        ("http://u:p@host//m//list.php?dir=x", "a.wav", "http://u:p@host//m/a.wav"),
        ("http://host/m/default.aspx", "http://host/m/a.wav", "http://host/m/a.wav"),
        ("http://host/m/x.asp", "a.wav", "http://host/m/a.wav"),
        ("http://host/m/x.html/", "a.wav", "http://host/m/x.html/a.wav"),
        ("http://host/m/.html", "a.wav", "http://host/m/.html/a.wav"),
        ("http://host/m/v1.0", "a.wav", "http://host/m/v1.0/a.wav"),
    ],
)
def test_a_page_with_a_name_of_its_own_lists_its_folder(url: str, link: str, found: str | None) -> None:
    assert links_below(f'<a href="{link}">', url) == ({found} if found else set())


@pytest.mark.parametrize(
    ("url", "link", "found"),
    [
        ("http://host/m/", "http://Host:80/m/a.wav", "http://host/m/a.wav"),
        ("https://host/m/", "https://host:443/m/a.wav", "https://host/m/a.wav"),
        ("http://u:p@host:80/m/", "http://host/m/a.wav", "http://u:p@host:80/m/a.wav"),
        ("http://host:80/m/", "https://host/m/a.wav", "https://host/m/a.wav"),
        ("http://host/m/", "http://host:8080/m/a.wav", None),
        ("http://host/m/", "http://host:443/m/a.wav", None),
        ("https://host/m/", "https://host:80/m/a.wav", None),
    ],
)
def test_the_usual_port_may_be_written_out(url: str, link: str, found: str | None) -> None:
    assert links_below(f'<a href="{link}">', url) == ({found} if found else set())


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("/m/sub/", "sub/a.wav"), ("sub/", "sub/a.wav"), ("http://host/m/sub/x", "sub/a.wav"), ("", "a.wav"),
        ("/elsewhere/", None), ("//other/m/", None), ("http://[bad/", "a.wav"),
    ],
)  # fmt: skip
def test_a_page_says_what_its_links_are_relative_to(base: str, found: str | None) -> None:
    page = f'<head><base href="{base}"><base href="/m/second/"></head><a href="a.wav">'
    assert links_below(page, "http://host/m/") == ({f"http://host/m/{found}"} if found else set())


@pytest.mark.parametrize(
    "part", ["<!--", "<a href='", "<a ", "<a href=", "<script>", "<a href=\"x' ", "<", "a=b "]
)
def test_a_page_takes_no_longer_than_its_length(part: str) -> None:
    began = time.process_time()
    links_below(f"<a {part * 100_000}", "http://host/")
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("asked", "reached", "place"),
    [
        ("http://host/a", "http://host/a/", "http://host/a"),
        ("http://u:p@host/a b", "https://host/a%20b/", "http://u:p@host/a b"),
        ("http://u:p@host/a b", "http://host/a%20b/index.html", "http://u:p@host/a b"),
        ("http://host/a/index.php", "https://host/a/", "http://host/a/index.php"),
        ("http://u:p@host/a/", "http://host/new/index.html", "http://u:p@host/new/index.html"),
        ("http://u:p@host/a/", "http://host/new/", "http://u:p@host/new/"),
        ("http://u:p@host/a/", "https://host/new/", "https://u:p@host/new/"),
        ("https://u:p@host/a/", "http://host/new/", "http://host/new/"),
        ("http://u:p@host/a/", "http://other/a/", "http://other/a/"),
        ("http://u:p@host/a/", "http://host:8/a/", "http://host:8/a/"),
    ],
)
def test_the_place_that_a_redirect_leads_to(asked: str, reached: str, place: str) -> None:
    assert place_of_page(asked, reached) == place
