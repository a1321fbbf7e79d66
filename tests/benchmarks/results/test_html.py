"""The page of results: whole, its own, unharmed by hostile names, alive in a browser if there is one."""

from __future__ import annotations

import copy
import html
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench_results import read, results_values, row_values
from html_page import HtmlPage
from merkit.benchmarks.results.html import html_from_results

_HOSTILE = """</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'"&{{7*7}}"""
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def results() -> dict[str, Any]:
    return results_values()


def page_of(values: dict[str, Any]) -> str:
    return html_from_results(read(values))


def test_the_page_has_every_part_and_nothing_from_elsewhere(results: dict[str, Any]):
    text = page_of(results)
    page = HtmlPage(text)
    assert not re.search(r"(?:src|href|action|data)=|url\(|@import|https?://", text)
    assert len(page.all("script")) == 1
    titles = page.text["h2"]
    assert titles == [
        "Every row", "Accuracy against speed", "Latency of one image", "What is taken for what",
        "Where the time of a song goes", "Measured on",
    ]  # fmt: skip
    assert sum("front" in (row.get("class") or "") for row in page.all("tr")) == 2
    rings = [circle for circle in page.all("circle") if circle.get("class") == "ring"]
    assert len(rings) == 2  # the front is marked in the chart too
    assert len(page.all("table")) == 1 + 3  # and a confusion matrix of each row that was scored
    assert "skipped: no GPU" in "".join(page.text["small"])
    assert "Not a valid measurement" in "".join(page.text["p"])
    for svg in page.all("svg"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"


@pytest.mark.parametrize("valid", [True, False])
def test_warnings_stand_only_where_they_hold(results: dict[str, Any], valid: bool):
    text = page_of({**results, "valid": valid, "partial": not valid})
    assert ("Not a valid measurement" in text) is not valid
    assert ("Stopped before its end" in text) is not valid


def test_hostile_text_stays_text(results: dict[str, Any]):
    clean = [name for name, _ in HtmlPage(page_of(results)).elements]
    bad = copy.deepcopy(results)
    bad["recommendation"] = bad["made"] = bad["mer"] = _HOSTILE
    bad["command"].append(_HOSTILE)
    bad["data"] |= {"name": _HOSTILE, "note": _HOSTILE, "labels": [_HOSTILE]}
    bad["machine"] |= {"cpu": _HOSTILE, "flags": [_HOSTILE], "libraries": {_HOSTILE: _HOSTILE}}
    for row in bad["rows"]:
        row |= {"model": _HOSTILE, "reason": _HOSTILE, "bound": _HOSTILE}
    bad["rows"][0] |= {
        "runtime": _HOSTILE, "precision": _HOSTILE, "labels": [_HOSTILE, "sad"], "stages": {_HOSTILE: 1.0},
    }  # fmt: skip
    text = page_of(bad)
    assert "<script>document" not in text
    assert "<img" not in text
    assert html.unescape(text).count(_HOSTILE) > 20  # and none of it is lost
    page = HtmlPage(text)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert {name for name, _ in page.elements} <= {*clean}


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(rows=[]),
        lambda r: r.update(rows=r["rows"][-1:], data=None, machine={}),
        lambda r: r.update(rows=r["rows"][3:4]),
        lambda r: [row.update(throughput=None, latency_ms=[], stages=None) for row in r["rows"]],
        lambda r: [row.update(throughput=math.nan, macro_f1=math.inf, p50="fast") for row in r["rows"]],
        lambda r: [row.update(latency_ms=[1.0] * 50, throughput=7.0, macro_f1=0.5) for row in r["rows"]],
        lambda r: r["rows"][0].update(confusion=[[1, 2, 3]], macro_f1_interval=[None, 1], latency_ms=[0, -1]),
        lambda r: r["rows"][0].update(macro_f1=1.0, macro_f1_interval=[1.0, 1.0], confusion=[[0, 0], [0, 0]]),
        lambda r: r.update(rows=[row_values(f"net{i}", "torch", i + 1.0, 0.5) for i in range(60)]),
    ],
)  # fmt: skip
def test_what_is_missing_is_left_out(results: dict[str, Any], change: Any):
    change(results)
    text = page_of(results)
    page = HtmlPage(text)
    assert "nan" not in re.sub(r"<(style|script).*?</\1>", "", text, flags=re.S).lower()
    assert "Measured on" in page.text["h2"]
    rows = [row for row in page.all("th") if row.get("scope") == "row" and "data-key" in row]
    assert len(rows) == len(results["rows"])


@pytest.mark.parametrize("width", [420, 1440])
@pytest.mark.skipif(not _CHROMIUM, reason="no chromium to open the page in: apt-get install chromium")
def test_in_a_browser(results: dict[str, Any], width: int, tmp_path: Path):
    results["rows"][0]["reason"] = results["rows"][1]["model"] = _HOSTILE
    text = page_of(results)
    # The page's policy forbids a test's script too, so what clicks comes with a page without one.
    clicks = """
      const heads = [...document.querySelectorAll("#rows thead th")];
      const speed = heads.find((head) => head.dataset.name === "images/s");
      const column = heads.indexOf(speed), seen = {};
      const order = () => [...document.querySelectorAll("#rows tbody tr")].map(
        (row) => row.cells[column].textContent.trim());
      for (const name of ["falling", "rising"]) {
        speed.querySelector("button").click();
        seen[name] = order().join(" ") + " " + speed.getAttribute("aria-sort");
      }
      const paper = () => getComputedStyle(document.body).backgroundColor;
      const before = paper();
      document.getElementById("theme").click();
      seen.theme = before !== paper();
      seen.fits = document.documentElement.scrollWidth <= innerWidth;
      seen.status = document.getElementById("sorted").textContent;
      document.title = JSON.stringify(seen);
    """
    driven = re.sub(r"<meta http-equiv.*?>", "", text).replace("</body>", f"<script>{clicks}</script></body>")
    dom = _dom(driven, tmp_path / "driven.html", width)
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    assert title
    assert html.unescape(title[1]) == (
        '{"falling":"1,000 90 80 20 - descending","rising":"20 80 90 1,000 - ascending",'
        '"theme":true,"fits":true,"status":"Sorted by images/s, rising"}'
    )
    # As it is: its own script may run (the button shows), nothing else does.
    dom = _dom(text, tmp_path / "page.html", width)
    assert re.search(r'<button id="theme" type="button" aria-label="Use the \w+ colours">', dom)
    assert "<title>mer-bench: speed and accuracy</title>" in dom


def _dom(text: str, page: Path, width: int) -> str:
    page.write_text(text, encoding="utf-8")
    assert _CHROMIUM
    done = subprocess.run(
        [
            _CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},900",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_controls_and_bidirectional_overrides_are_escaped(results: dict[str, Any]) -> None:
    results["rows"][0]["model"] = "a\x1b[2J\u202egnp.exe\x00"
    page = page_of(results)
    assert not set("\x1b\u202e\x00") & set(page)
    assert "a\\x1b[2J\\u202egnp.exe\\x00" in page
