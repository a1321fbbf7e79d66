"""The page of results: whole, its own, unharmed by hostile names, alive in a browser if there is one."""

from __future__ import annotations

import copy
import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from merkit.benchmarks import cli
from merkit.benchmarks.cli import main
from merkit.benchmarks.results import charts
from merkit.benchmarks.results.html import html_from_results
from merkit.engine.errors import MerError

_VOID = {"meta", "br", "img", "input", "link", "hr"}
_HOSTILE = """</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'"&{{7*7}}"""
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _row(model: str, runtime: str, speed: float, macro_f1: float | None, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(round(speed))
    times = 1e3 / speed * (1 + 0.1 * rng.random(200))
    confusion = [[8, 2], [1, 9]] if macro_f1 else None
    return {
        "model": model, "backbone": model, "source": "bundled", "file": f"{model}.onnx", "runtime": runtime,
        "precision": "fp32", "status": "ok", "reason": None, "params": 1.5e6, "macs": 6e7, "bytes": 6e6,
        "throughput": speed, "best_batch": 8, "throughput_samples": [speed], "p50": float(np.median(times)),
        "p90": float(np.quantile(times, 0.9)), "p99": None, "latency_ms": times.tolist(),
        "songs_per_s": 20.0, "peak_mib": 200.0, "accuracy": macro_f1, "macro_f1": macro_f1,
        "accuracy_interval": None, "macro_f1_interval": [macro_f1 - 0.1, 0.9] if macro_f1 else None,
        "drop": 0.0, "labels": ["happy", "sad"], "confusion": confusion, "roofline": 0.4,
        "bound": "compute", "stages": {"decode": 2.0, "mel": 1.0, "network": 0.5}, "pareto": False, **more,
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    rows = [
        _row("best", "openvino", 90.0, 0.8, pareto=True),
        _row("quick", "onnxruntime", 1000.0, 0.7, pareto=True),
        _row("middling", "onnxruntime", 80.0, 0.6),
        _row("peer", "torch", 20.0, None),
        {
            "model": "gone",
            "runtime": "tensorrt",
            "precision": "fp16",
            "status": "skipped",
            "reason": "no GPU",
        },
    ]
    return {
        "mer": "0.1", "made": "2026-11-22T00:00:00+00:00", "command": ["mer-bench", "--quick"],
        "valid": False, "partial": False, "data": {"name": "set", "clips": 20, "labels": ["happy", "sad"]},
        "machine": {"cpu": "a CPU", "flags": ["avx2"], "cores": 2, "memory_gib": 24.0, "libraries": {}},
        "rows": rows, "recommendation": "use best",
    }  # fmt: skip


class _Page(HTMLParser):
    """Elements in order, text by element; fails where tags do not close one another."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_has_every_part_and_nothing_from_elsewhere(results: dict[str, Any]):
    text = html_from_results(results)
    page = _Page(text)
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
    text = html_from_results({**results, "valid": valid, "partial": not valid})
    assert ("Not a valid measurement" in text) is not valid
    assert ("Stopped before its end" in text) is not valid


def test_hostile_text_stays_text(results: dict[str, Any]):
    clean = [name for name, _ in _Page(html_from_results(results)).elements]
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
    text = html_from_results(bad)
    assert "<script>document" not in text
    assert "<img" not in text
    assert html.unescape(text).count(_HOSTILE) > 20  # and none of it is lost
    page = _Page(text)
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
        lambda r: r.update(rows=[_row(f"net{i}", "torch", i + 1.0, 0.5) for i in range(60)]),
    ],
)  # fmt: skip
def test_what_is_missing_is_left_out(results: dict[str, Any], change: Any):
    change(results)
    text = html_from_results(results)
    page = _Page(text)
    assert "nan" not in re.sub(r"<(style|script).*?</\1>", "", text, flags=re.S).lower()
    assert "Measured on" in page.text["h2"]
    rows = [row for row in page.all("th") if row.get("scope") == "row" and "data-key" in row]
    assert len(rows) == len(results["rows"])


@pytest.mark.parametrize("strange", [{}, {"rows": 3}, {"rows": [1]}])
def test_what_is_no_results_is_refused(strange: dict[str, Any]):
    with pytest.raises(MerError, match="no results of mer-bench"):
        html_from_results(strange)


def test_names_cross_no_other_name(results: dict[str, Any]):
    rng = np.random.default_rng(1)
    rows = [_row(f"net{i}", "openvino", rng.uniform(90, 130), rng.uniform(0.6, 0.7)) for i in range(30)]
    chart = charts.scatter(rows)
    assert chart
    left, top, right, bottom = chart["box"]
    boxes = []
    for point in chart["points"]:
        assert left <= point.x <= right
        assert top <= point.y <= bottom
        if point.label:
            x, y, anchor = point.label
            width = 6.7 * len(charts.name_of(point.row))
            begin = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
            boxes.append((begin, y - 12, begin + width, y + 4))
    assert len(boxes) > 3
    for i, a in enumerate(boxes):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[i + 1 :])


def test_a_histogram_holds_every_sample(results: dict[str, Any]):
    chart = charts.ridges(results["rows"])
    assert chart
    assert [ridge["row"]["model"] for ridge in chart["ridges"]] == ["quick", "best", "middling", "peer"]
    assert all(ridge["samples"] == 200 for ridge in chart["ridges"])
    for ridge in chart["ridges"]:
        places = [float(place) for place in re.findall(r"L([\d.]+) ", ridge["path"])]
        assert places == sorted(places)  # never back: an area over the axis
        assert [name for name, _ in ridge["marks"]] == ["p50", "p90"]  # p99 was not given


@pytest.mark.parametrize("width", [420, 1440])
@pytest.mark.skipif(not _CHROMIUM, reason="no chromium to open the page in: apt-get install chromium")
def test_in_a_browser(results: dict[str, Any], width: int, tmp_path: Path):
    results["rows"][0]["reason"] = results["rows"][1]["model"] = _HOSTILE
    text = html_from_results(results)
    # The page's policy forbids a test's script too, so what clicks comes with a page without one.
    clicks = """
      const heads = [...document.querySelectorAll("#rows thead th")];
      const speed = heads.find((head) => head.dataset.name === "images/s");
      const column = heads.indexOf(speed), told = {};
      const order = () => [...document.querySelectorAll("#rows tbody tr")].map(
        (row) => row.cells[column].textContent.trim());
      for (const name of ["falling", "rising"]) {
        speed.querySelector("button").click();
        told[name] = order().join(" ") + " " + speed.getAttribute("aria-sort");
      }
      const paper = () => getComputedStyle(document.body).backgroundColor;
      const before = paper();
      document.getElementById("theme").click();
      told.theme = before !== paper();
      told.fits = document.documentElement.scrollWidth <= innerWidth;
      told.said = document.getElementById("sorted").textContent;
      document.title = JSON.stringify(told);
    """
    driven = re.sub(r"<meta http-equiv.*?>", "", text).replace("</body>", f"<script>{clicks}</script></body>")
    dom = _dom(driven, tmp_path / "driven.html", width)
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    assert title
    assert html.unescape(title[1]) == (
        '{"falling":"1,000 90 80 20 - descending","rising":"20 80 90 1,000 - ascending",'
        '"theme":true,"fits":true,"said":"Sorted by images/s, rising"}'
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


def test_the_page_of_saved_results(results: dict[str, Any], tmp_path: Path):
    saved, page = tmp_path / "results.json", tmp_path / "report.html"
    results |= {"length": "quick", "threads": 2}
    results["data"]["note"] = "held out"
    results["machine"]["os"] = "Linux"
    saved.write_text(json.dumps(results))
    done = CliRunner().invoke(main, ["report", str(saved), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "use best" in done.stdout
    assert page.read_text() == html_from_results(results)
    for file, out, reason in (
        (page, "a.html", "is no results file of mer-bench --json"),
        (saved, "nowhere/a.html", "there is no folder"),
    ):
        done = CliRunner().invoke(main, ["report", str(file), "--html", str(tmp_path / out)])
        assert done.exit_code in (1, 2)
        assert reason in done.stderr


def test_without_jinja2_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["--html", str(tmp_path / "a.html")])
    assert done.exit_code == 1
    assert done.stderr == "Error: --html needs the package jinja2: pip install 'merkit[bench]'\n"
