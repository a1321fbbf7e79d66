import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.errors import SpecError
from merkit.engine.spec import PRESETS, QUADRANTS, AudioSpec, ModelSpec

finite = st.floats(-1e6, 1e6)


@st.composite
def audio_specs(draw: st.DrawFn) -> AudioSpec:
    rate, hop, mels = (
        draw(st.integers(4_000, 192_000)),
        draw(st.integers(1, 4_096)),
        draw(st.integers(1, 256)),
    )
    samples = draw(st.integers(8_192, 500_000))
    fmax = draw(st.floats(100, rate / 2))
    count = draw(st.sampled_from([1, mels]))
    return AudioSpec(
        sample_rate=rate,
        window_samples=samples,
        hop_length=hop,
        frames=draw(st.integers(1, 1 + samples // hop)),
        n_fft=2 * draw(st.integers(8, 4_096)),
        pad_mode=draw(st.sampled_from(["constant", "reflect"])),
        n_mels=mels,
        fmin=draw(st.floats(0, 99)),
        fmax=fmax,
        mel_scale=draw(st.sampled_from(["slaney", "htk"])),
        mel_norm=draw(st.sampled_from(["slaney", "none"])),
        reference=draw(st.sampled_from(["one", "max"])),
        top_db=draw(st.none() | st.floats(1, 200)),
        mean=tuple(draw(st.lists(finite, min_size=count, max_size=count))),
        std=tuple(draw(st.lists(st.floats(1e-3, 1e3), min_size=count, max_size=count))),
        short_audio=draw(st.sampled_from(["zeros", "repeat"])),
    )


@given(
    audio_specs(), st.lists(st.text(min_size=1), min_size=2, max_size=6, unique=True), st.floats(0.01, 100)
)
def test_json_round_trip(audio: AudioSpec, labels: list[str], temperature: float) -> None:
    spec = ModelSpec("resnet18", tuple(labels), audio, temperature, {"data": {"clips": 720}})
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert AudioSpec.from_json(audio.to_json()) == audio
    assert again.audio.fingerprint == audio.fingerprint


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
    for text in ("", "[]", "{", "null"):
        with pytest.raises(SpecError):
            cls.from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 0},
        {"sample_rate": 16_000.5},
        {"sample_rate": True},
        {"n_fft": 2_047},
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
    ],
)
def test_audio_spec_refuses(wrong: dict) -> None:
    with pytest.raises(SpecError, match="AudioSpec"):
        AudioSpec(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ("happy",)},
        {"labels": ("happy", "happy")},
        {"labels": ("happy", "")},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"backbone": ""},
        {"audio": {}},
        {"provenance": {"f1": float("nan")}},
        {"provenance": {"path": object()}},
    ],
)
def test_model_spec_refuses(wrong: dict) -> None:
    good = {"backbone": "vgg16", "labels": QUADRANTS, "audio": AudioSpec()}
    with pytest.raises(SpecError, match="ModelSpec"):
        ModelSpec(**{**good, **wrong})


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
