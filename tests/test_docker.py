"""What an image is made of: a folder that is missing breaks it, and one too many lies in it for good."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_image_gets_what_a_wheel_is_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools, project = settings["tool"]["setuptools"], settings["project"]
    folders = {Path(folder).parts[0] for folder in setuptools["package-dir"].values()}
    others = {package for package in setuptools["packages"] if "." not in package} - {"merkit"}
    files = {"pyproject.toml", "setup.py", project["readme"], *project["license-files"]}
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == folders | others | files
