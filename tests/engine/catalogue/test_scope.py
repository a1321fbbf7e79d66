"""Of which rows the arguments of a run speak."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from merkit.engine.catalogue.reconcile import RealPaths
from merkit.engine.catalogue.scope import Scope


@pytest.mark.parametrize(
    ("argument", "below", "beside"),
    [
        ("m", ["m/a", "m/x/y/a"], ["n/a", "ma/a", "m"]),
        ("./m/", ["m/a", "m/x/y/a"], ["n/a", "m"]),
        ("shelf", ["m/a", "m/x/y/a"], ["n/a", "shelf/a"]),
        ("away/disk", ["away/disk/a", "away/disk/x/a"], ["away/a"]),
        ("m/*.wav", ["m/a.wav", "m/folder.wav/a"], ["m/a.mp3", "m/x/a.wav", "n/a.wav"]),
        ("shelf/x?/*", ["m/x1/a", "m/x2/y/a"], ["m/x/a", "shelf/x1/a"]),
        ("**/[ab].wav", ["a.wav", "m/x/b.wav"], ["m/c.wav"]),
        ("m/**", ["m/a", "m/x/y/a"], ["n/a"]),
        ("there [1]", ["there [1]/a"], ["there 1/a"]),
        ("there [1]/*.wav", ["there [1]/a.wav"], ["there 1/a.wav", "there [1]/a.mp3"]),
        ("away [1]/*.wav", ["away [1]/a.wav", "away 1/a.wav"], ["away [1]/a.mp3"]),
    ],
)
def test_folders_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, below: list[str], beside: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m", "there [1]"):
        (tmp_path / name).mkdir()
    (tmp_path / "shelf").symlink_to("m")
    scope = Scope([argument], RealPaths(), lambda _: False)
    here = os.path.realpath(tmp_path)
    assert [path for path in below + beside if scope.holding(f"{here}/{path}")] == below
    assert scope.names(RealPaths().of(argument))


def test_urls() -> None:
    scope = Scope(["s3://bucket/songs/", "https://host/a.mp3"], RealPaths(), lambda _: False)
    assert scope.holding("s3://bucket/songs/x/a.mp3") == "s3://bucket/songs"
    assert scope.names("https://host/a.mp3")
    for url in ("s3://bucket/other/a.mp3", "https://host/b.mp3", "gs://bucket/songs/a.mp3"):
        assert scope.holding(url) is None


def test_the_nearest_holds() -> None:
    scope = Scope(["/m"], RealPaths(), lambda identity: identity == "/m/locked")
    assert scope.holding("/m/locked/x/a.wav") == "/m/locked"
    assert scope.holding("/m/a.wav") == "/m"
    assert Scope(["/"], RealPaths(), lambda _: False).holding("/m/a.wav") == "/"
