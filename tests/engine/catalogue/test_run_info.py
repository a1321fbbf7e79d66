"""What a folder of labels was begun with, as text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_labels import MODEL, OPTIONS
from merkit.engine.catalogue.run_info import (
    UNDO_FILE,
    RunInfo,
    fields_from_json,
    info_from_fields,
    models_of_fields,
    run_info,
)
from merkit.engine.errors import MerError

INFO = RunInfo(("happy", "sad"), {"isrc": "string"}, {"model": "audiocnn", "windows": 3})


def test_a_run_goes_on_with_the_same_options_only(tmp_path: Path) -> None:
    INFO.check(fields_from_json(INFO.to_json(), tmp_path), tmp_path)
    other = RunInfo(("sad",), {}, {"model": "audiocnn", "windows": 3})
    with pytest.raises(
        MerError, match=r"begun with other options: labels .*; columns of the table \{\}, now"
    ):
        INFO.check(fields_from_json(other.to_json(), tmp_path), tmp_path)


def test_columns_that_differ_are_named(tmp_path: Path) -> None:
    def of(**carried: str) -> RunInfo:
        return RunInfo(INFO.labels, carried, INFO.decides)

    before = of(genre="string", year="string", a_long_name="int64")
    for now, said in (
        (
            of(style="string", year="string", a_long_name="int64"),
            r"columns of the table {genre}, now {style}\.",
        ),
        (
            of(genre="string", year="int64", a_long_name="int64"),
            r"columns of the table {year: string}, now {year: int64}\.",
        ),
        (of(year="string", a_long_name="int64"), r"columns of the table {genre}, now {}\."),
        (
            of(**before.carried, **dict.fromkeys(map(str, range(50)), "string")),
            r"{}, now {0, .* 9, 40 more}\.",
        ),
    ):
        with pytest.raises(MerError, match=said):
            now.check(before.fields(), tmp_path)


def test_names_of_further_models_hold_anything() -> None:
    names = ("Rock, Pop", "a, None", "x")
    further = tuple(replace(MODEL, name=name, sha256=str(i) * 64) for i, name in enumerate(names))
    fields = run_info(replace(MODEL, further=further), "fake", OPTIONS).fields()
    models = {MODEL.name: MODEL.sha256, **{name: str(i) * 64 for i, name in enumerate(names)}}
    assert models_of_fields(fields) == models
    assert models_of_fields({"further": "None a, None b"}) == {"a": "None", "b": "None"}


def test_further_models_are_named_in_words(tmp_path: Path) -> None:
    def of(further: str | None, *columns: str) -> RunInfo:
        carried = dict.fromkeys(("isrc", *columns), "string")
        return RunInfo(INFO.labels, carried, {"model": "hindi5", "further": further})

    alone, both = of(None), of("14f37" + "0" * 59 + " audiocnn", "audiocnn_emotion")
    with pytest.raises(
        MerError, match=r"options: further models none, now audiocnn\. Write to another"
    ) as said:
        both.check(alone.fields(), tmp_path)
    assert "columns" not in str(said.value)
    with pytest.raises(MerError, match=r"options: further models audiocnn, now none\."):
        alone.check(both.fields(), tmp_path)
    other = of("a" * 64 + " audiocnn", "audiocnn_emotion")
    with pytest.raises(MerError, match=r"models audiocnn 14f370000000\.\.\., now audiocnn aaaaaaaaaaaa"):
        other.check(both.fields(), tmp_path)
    with pytest.raises(
        MerError, match=r"options: columns of the table .*; further models none, now audiocnn\."
    ):
        both.check({**alone.fields(), "carried": {}}, tmp_path)


def test_the_models_that_a_folder_names() -> None:
    decides = {"model": "hindi5", "model_sha256": "a" * 64, "further": f"{'b' * 64} one, {'c' * 64} my two"}
    assert list(models_of_fields(RunInfo(("sad",), {}, decides).fields()).items()) == [
        ("hindi5", "a" * 64),
        ("one", "b" * 64),
        ("my two", "c" * 64),
    ]
    assert models_of_fields({}) == {}


def test_where_files_were_tagged_the_way_back_is_said_first(tmp_path: Path) -> None:
    folder = tmp_path / "my labels"
    folder.mkdir()
    other = RunInfo(INFO.labels, INFO.carried, {"model": "hindi5", "windows": 3}).fields()
    with pytest.raises(MerError, match=r"Write to another folder, or delete this one to start again$"):
        INFO.check(other, folder)
    (folder / UNDO_FILE).touch()
    for place in (folder, folder / "part-000000.parquet"):
        with pytest.raises(MerError, match=f"mer-label tag '{folder}' --undo --write gives") as said:
            INFO.check(other, place)
        assert "start again" not in str(said.value)


@pytest.mark.parametrize(
    "content",
    [*("", "[1]", "{}", '{"format": 3}', "\0"), b"\xff", "[" * 100_000, '{"format": 1' + "0" * 9_999 + "}"],
)
def test_what_is_no_such_text(content: str | bytes) -> None:
    with pytest.raises(MerError, match=r"part (cannot be read|was made by another version)"):
        fields_from_json(content, Path("part"))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"labels": "happy"},
        {"labels": []},
        {"labels": ["a", "a"]},
        {"labels": ["a", 1]},
        {"carried": None},
        {"carried": ["isrc"]},
        {"carried": {"isrc": "decimal"}},
        {"carried": {"isrc": ["string"]}},
        {"model": {"a": {"b": []}}},
    ],
)
def test_what_nobody_wrote(change: dict) -> None:
    text = json.dumps({**INFO.fields(), **change})
    with pytest.raises(MerError, match="part does not say what its labels are of"):
        fields_from_json(text, Path("part"))


def test_the_same_run_by_other_names(tmp_path: Path) -> None:
    """RTX's engines have one runtime, however it was called; older folders do not say all of it."""
    for before, now in (("tensorrt_rtx", "tensorrt"), ("tensorrt", "tensorrt")):
        old = {**RunInfo(INFO.labels, {}, {"runtime": before}).fields(), "format": 1}
        decides = {"runtime": now, "decoder": "auto", "window_s": 10.0}
        RunInfo(INFO.labels, {}, decides).check(old, tmp_path)
    other = RunInfo(INFO.labels, {}, {"runtime": "onnxruntime"})
    with pytest.raises(MerError, match="runtime tensorrt, now onnxruntime"):
        other.check(RunInfo(INFO.labels, {}, {"runtime": "tensorrt"}).fields(), tmp_path)


def test_what_decides() -> None:
    rtx = run_info(MODEL, "tensorrt_rtx", OPTIONS)
    assert rtx == run_info(MODEL, "tensorrt", OPTIONS)
    dali = run_info(MODEL, "tensorrt", replace(OPTIONS, windows="all", decoder="dali"))
    auto = run_info(MODEL, "tensorrt", replace(OPTIONS, windows="all"))
    with pytest.raises(MerError, match="decoder auto, now dali"):
        dali.check(auto.fields(), Path("labels"))
    assert info_from_fields(rtx.fields()) == rtx


def test_a_model_by_another_name_is_the_same(tmp_path: Path) -> None:
    """Rows of a training had its backbone's name before, and a folder can be renamed."""
    mine, before = ({"model": name, "model_sha256": "a" * 64} for name in ("mine", "audioset"))
    RunInfo(INFO.labels, {}, mine).check(RunInfo(INFO.labels, {}, before).fields(), tmp_path)
    with pytest.raises(MerError, match="model audioset, now mine"):
        RunInfo(INFO.labels, {}, mine).check({**INFO.fields(), **before, "model_sha256": "b" * 64}, tmp_path)


def test_a_model_whose_name_is_no_text() -> None:
    """A training's folder may have any name; the metadata of a shard must be UTF-8."""
    artifact = replace(MODEL, name="caf\udce9", further=(replace(MODEL, name="\udce9"),))
    info = run_info(artifact, "onnxruntime", OPTIONS)
    assert (info.decides["model"], info.decides["further"]) == ("caf\\xe9", f"{MODEL.sha256} \\xe9")
    assert info.to_json().encode()
