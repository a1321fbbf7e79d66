import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.errors import SpecError
from merkit.engine.spec import QUADRANTS, AudioSpec, EvidenceSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS

finite = st.floats(-1e6, 1e6)


@st.composite
def audio_specs(draw: st.DrawFn) -> AudioSpec:
    rate, hop, mels = (
        draw(st.integers(4_000, 192_000)),
        draw(st.integers(64, 4_096)),
        draw(st.integers(1, 256)),
    )
    samples = draw(st.integers(8_192, 500_000))
    fmax = draw(st.floats(100, rate / 2))
    count = draw(st.sampled_from([1, mels]))
    n_fft = 2 * draw(st.integers(8, 4_096))
    return AudioSpec(
        sample_rate=rate,
        window_samples=samples,
        hop_length=hop,
        frames=draw(st.integers(1, 1 + samples // hop)),
        n_fft=n_fft,
        win_length=draw(st.just(0) | st.integers(2, n_fft)),
        pad_mode=draw(st.sampled_from(["constant", "reflect"])),
        n_mels=mels,
        fmin=draw(st.floats(0, 99)),
        fmax=fmax,
        mel_scale=draw(st.sampled_from(["slaney", "htk"])),
        mel_norm=draw(st.sampled_from(["slaney", "none"])),
        reference=draw(st.sampled_from(["one", "max", "mean"])),
        top_db=draw(st.none() | st.floats(1, 200)),
        mean=tuple(draw(st.lists(finite, min_size=count, max_size=count))),
        std=tuple(draw(st.lists(st.floats(1e-3, 1e3), min_size=count, max_size=count))),
        short_audio=draw(st.sampled_from(["zeros", "repeat"])),
    )


names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=200).filter(
    str.strip
)


@given(audio_specs(), st.lists(names, min_size=2, max_size=6, unique=True), st.floats(0.01, 100))
def test_json_round_trip(audio: AudioSpec, labels: list[str], temperature: float) -> None:
    spec = ModelSpec("resnet18", tuple(labels), audio, temperature, {"data": {"clips": 720}})
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert AudioSpec.from_json(audio.to_json()) == audio
    assert again.audio.fingerprint == audio.fingerprint


def test_a_field_that_came_later_stands_only_where_it_says_something() -> None:
    """Files of older versions are read, and older versions read what they could have made."""
    assert "win_length" not in AudioSpec().to_json()
    assert "win_length" not in ModelSpec("resnet18", ("a", "b"), AudioSpec()).to_json()
    windowed = AudioSpec(win_length=800)
    assert AudioSpec.from_json(windowed.to_json()) == windowed
    assert windowed.fingerprint != AudioSpec().fingerprint


def test_fields_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AudioSpec().n_mels = 64  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("cls", [AudioSpec, ModelSpec])
def test_unknown_missing_and_newer_are_refused(cls: type[AudioSpec] | type[ModelSpec]) -> None:
    whole = AudioSpec() if cls is AudioSpec else ModelSpec("vgg16", QUADRANTS, AudioSpec())
    fields = json.loads(whole.to_json())
    with pytest.raises(SpecError, match="unknown fields: loudness"):
        cls.from_json(json.dumps({**fields, "loudness": 1}))
    with pytest.raises(SpecError, match="version 2"):
        cls.from_json(json.dumps({**fields, "version": 2}))
    for name in fields:
        with pytest.raises(SpecError, match=f"lacks fields: {name}"):
            cls.from_json(json.dumps({k: v for k, v in fields.items() if k != name}))
    for text in ("", "[]", "{", "null", "[" * 100_000, json.dumps(fields)[:-1] + ',"version":1}'):
        with pytest.raises(SpecError):
            cls.from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 0},
        {"sample_rate": 16_000.5},
        {"sample_rate": True},
        {"n_fft": 2_047},
        {"win_length": 1},
        {"win_length": 2_049},
        {"frames": 314},
        {"fmax": 8_001.0},
        {"fmin": 8_000.0},
        {"amin": 0.0},
        {"amin": float("nan")},
        {"top_db": -1.0},
        {"mean": (0.0, 1.0)},
        {"mean": (float("nan"),)},
        {"std": (0.0,)},
        {"pad_mode": "wrap"},
        {"short_audio": "loop"},
        {"window_samples": 1_000, "frames": 1, "pad_mode": "reflect"},
        {"mean": "0"},
        # What a stranger may ask for: memory, time, numbers that no float32 holds.
        {"sample_rate": 1},
        {"sample_rate": 10**400},
        {"window_samples": 10**9},
        {"n_mels": 10**9},
        {"n_mels": 1_024, "n_fft": 1 << 16},
        {"n_fft": 1 << 40},
        {"hop_length": 1},
        {"hop_length": 8, "n_mels": 8, "n_fft": 1 << 14},
        {"hop_length": 10**400, "frames": 2},
        {"frames": 10**400},
        {"fmin": 10**400},
        {"fmin": 7_999.9999},
        {"fmax": float("nan")},
        {"amin": 1e-60},
        {"amin": 1e60},
        {"top_db": float("inf")},
        {"top_db": float("nan")},
        {"mean": (1e300,)},
        {"mean": (10**400,)},
        {"std": (1e-300,)},
        {"std": (float("inf"),)},
    ],
)
def test_audio_spec_refuses(wrong: dict) -> None:
    with pytest.raises(SpecError, match="AudioSpec") as error:
        AudioSpec(**wrong)
    assert len(str(error.value)) < 200


def deep(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ("happy",)},
        {"labels": ("happy", "happy")},
        {"labels": ("happy", "")},
        {"labels": ("happy", " ")},
        {"labels": ("happy", "sad\x1b[2J")},
        {"labels": ("happy", "sad\nnew row")},
        {"labels": ("happy", "sad\u2028")},
        {"labels": ("happy", "\udcff")},
        {"labels": ("happy", "a" * 201)},
        {"labels": tuple(map(str, range(1_001)))},
        {"labels": ("happy", 1)},
        {"temperature": 1e-300},
        {"temperature": 10**400},
        {"temperature": float("nan")},
        {"backbone": "a\x07b"},
        {"backbone": " "},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"backbone": ""},
        {"audio": {}},
        {"provenance": {"f1": float("nan")}},
        {"provenance": {"path": object()}},
        {"provenance": {"title": "\ud800"}},
        {"provenance": deep(60)},
        {"provenance": deep(5_000)},
        {"provenance": {"clips": "a" * (17 << 20)}},
    ],
)
def test_model_spec_refuses(wrong: dict) -> None:
    good = {"backbone": "vgg16", "labels": QUADRANTS, "audio": AudioSpec()}
    with pytest.raises(SpecError, match="ModelSpec"):
        ModelSpec(**{**good, **wrong})


EVIDENCE = EvidenceSpec(music=-3.5, distances=(1.0, 2.0, 2.0), far=2.5, confidence=0.3)


def test_evidence_is_in_the_json_only_where_there_is_some() -> None:
    plain = ModelSpec("vgg16", QUADRANTS, AudioSpec())
    assert "evidence" not in plain.to_json()  # files of before stay as they are, and older programs read them
    assert plain.outputs == {"logits": 4}
    spec = dataclasses.replace(plain, evidence=EVIDENCE)
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert list(spec.outputs.items()) == [("logits", 4), ("evidence", 2)]
    fields = json.loads(spec.to_json())
    for wrong in ({"loudness": 1}, {"distances": [2, 1]}, {"distances": [1]}, {"confidence": 1.5}):
        with pytest.raises(SpecError, match="EvidenceSpec"):
            ModelSpec.from_json(json.dumps({**fields, "evidence": {**fields["evidence"], **wrong}}))
    for wrong in ({"music": 1e7}, {"far": float("nan")}, {"music": "low"}):
        with pytest.raises(SpecError, match="EvidenceSpec"):
            dataclasses.replace(EVIDENCE, **wrong)
    with pytest.raises(SpecError, match=r"ModelSpec\.evidence must be .*EvidenceSpec"):
        ModelSpec.from_json(json.dumps({**fields, "evidence": [1]}))


def test_the_largest_window_takes_bounded_memory_and_time() -> None:
    """What the ranges of the fields allow at most, computed in a child process: log-mels of one window."""
    code = """
import time
import numpy as np
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
for fields in (
    {"window_samples": 10_000_000, "frames": 1, "hop_length": 9_800, "n_fft": 1 << 16},
    {"n_mels": 1_024, "n_fft": 8_192, "window_samples": 2_000_000, "hop_length": 1_000, "frames": 1},
):
    spec = AudioSpec(**fields)
    began = time.process_time()
    log_mel_from_audio(np.ones((1, spec.window_samples), np.float32), spec)
    assert time.process_time() - began < 30, fields
status = open("/proc/self/status").read()  # ru_maxrss begins with what the parent had
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400  # MB, with NumPy itself


def test_presets_are_the_papers() -> None:
    assert (PRESETS["emotion4q"].window_s, PRESETS["emotion4q"].frames) == (10.0, 157)
    hindi, notebook, icm = PRESETS["mer500"], PRESETS["mer500-notebook"], PRESETS["jumusemodb"]
    assert (hindi.sample_rate, hindi.n_mels, hindi.reference) == (16_000, 224, "max")
    assert (notebook.sample_rate, notebook.fmax, notebook.hop_length, notebook.frames) == (
        22_050,
        8_000,
        512,
        224,
    )
    assert (icm.window_s, icm.n_fft, icm.hop_length) == (5.0, 2_048, 512)
