"""Samples of an MP3's cut against the whole file, decoded from its beginning without a seek.

They differ by a rounding at most: mpg123's filter bank adds in an order that depends on the frame's number.
"""

import io
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.mpeg import mp3_frames
from merkit.engine.audio.mpeg.mp3_frames import FrameIndex, mp3_from_file
from merkit.engine.audio.open import open_decoder
from mp3_files import mp3


def same(samples: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-7)


def whole(path: Path) -> np.ndarray:
    with soundfile.SoundFile(path) as file:
        sound: np.ndarray = file.read(dtype="float32", always_2d=True).mean(axis=1)
        return sound


def parts_of(path: Path, junk: int = 0) -> list[FrameIndex]:
    with io.FileIO(path) as file:
        return mp3_from_file(file.fileno(), Budget(Limits()), junk)


def by_cut(path: Path, start: int, count: int) -> np.ndarray:
    (index,) = parts_of(path)
    with io.FileIO(path) as file:
        data, skip = index.cut(file.fileno(), start, count)
    part = path.with_name("part.mp3")
    part.write_bytes(data)
    return whole(part)[skip:][:count]


@pytest.mark.parametrize("mode", ["constant", "low", "variable"])
@pytest.mark.parametrize(
    ("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (16_000, 1), (11_025, 1)]
)
def test_a_cut_sounds_as_the_whole(tmp_path: Path, rate: int, channels: int, mode: str) -> None:
    # Of a variable rate without a tag libsndfile guesses the length, too short.
    for xing in (True,) if mode == "variable" else (True, False):
        path = mp3(tmp_path / "a.mp3", rate, channels, mode, xing=xing)
        sound = whole(path)
        assert len(sound) > 11.9 * rate
        for start, count in ((0, 1_000), (rate * 3 + 17, rate), (rate * 7, 99), (rate * 9 - 1, 2 * rate)):
            same(by_cut(path, start, count), sound[start : start + count])


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mp3(tmp_path_factory.mktemp("mp3") / "song.mp3", 44_100, 2, "variable", seconds=30)


@pytest.fixture(scope="module")
def sound(song: Path) -> np.ndarray:
    return whole(song)


@given(st.integers(0, 29 * 44_100), st.integers(1, 44_100))
@settings(max_examples=25, deadline=None)
def test_anywhere(song: Path, sound: np.ndarray, start: int, count: int) -> None:
    same(by_cut(song, start, count), sound[start : start + count])


def test_the_decoder_reads_by_cuts(song: Path, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = []
    cut = FrameIndex.cut
    monkeypatch.setattr(FrameIndex, "cut", lambda *a: cuts.append(a[2]) or cut(*a))
    with closing(open_decoder(song, Limits())) as decoder:
        starts = [20 * 44_100, 0, 70_000, 5_000, 500_000, decoder.length - 70_000]
        for start in starts:
            same(decoder.read(start, 70_000), sound[start : start + 70_000])
        assert cuts == starts
        same(decoder.read(0, decoder.length), sound)  # more than one block
        near = decoder.length - 1_000
        same(decoder.read(near, 5_000), sound[near:])
        assert len(decoder.read(decoder.length, 9)) == 0
        assert decoder.measure() == len(sound)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (44_100, 1), (22_050, 1)])
def test_a_variable_rate_without_a_tag(tmp_path: Path, rate: int, channels: int) -> None:
    path = mp3(tmp_path / "a.mp3", rate, channels, "variable", xing=False)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    with av.open(str(path)) as file:
        sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in file.decode(audio=0)])
    with closing(open_decoder(path, Limits())) as decoder:
        assert abs(decoder.length - len(sound)) <= 1_152
        for start, count in ((0, rate), (rate, 3 * rate), (8 * rate, 4 * rate), (3 * rate, 100)):
            part = decoder.read(start, count)
            assert len(part) == count
            np.testing.assert_allclose(part, sound[start : start + count], atol=1e-3)
        assert 0 <= decoder.length - decoder.measure() <= 1_152


def test_what_stands_around_the_frames(song: Path, sound: np.ndarray, tmp_path: Path) -> None:
    data = song.read_bytes()
    size = 10 + int.from_bytes(data[6:10], "big") if data[:3] == b"ID3" else 0
    picture = b"ID3\x04\x00\x00\x00\x00\x78\x00" + bytes(0x78 << 7)  # syncsafe: 7 bits a byte
    for name, changed in {
        "tags": picture * 2 + data,
        "bare": data[size:],
        "end": data + b"TAG" + bytes(125),
    }.items():
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(changed)
        same(by_cut(path, 700_000, 9_000), sound[700_000:709_000])


def frame_sizes(path: Path) -> list[int]:
    (index,) = parts_of(path)
    return [int(size) for size in index.sizes]


@pytest.mark.parametrize("tag", [None, "count", "no fields", "zero", "one", "too many", "cut"])
def test_the_length_is_that_of_the_frames(
    song: Path, sound: np.ndarray, tmp_path: Path, tag: str | None
) -> None:
    data = bytearray(song.read_bytes())
    place = max(data.find(b"Xing"), data.find(b"Info"))
    change = {"no fields": (4, 0), "zero": (8, 0), "one": (8, 1), "too many": (8, 99_999), "count": (8, 400)}
    if tag in change:
        offset, value = change[tag]
        data[place + offset : place + offset + 4] = value.to_bytes(4, "big")
    path = tmp_path / "a.mp3"
    path.write_bytes(data[: len(data) // 2] if tag == "cut" else data)
    with closing(open_decoder(path, Limits())) as decoder:
        if tag == "cut":
            assert decoder.length / 44_100 == pytest.approx(15, abs=2.5)
        else:
            assert abs(decoder.length - len(sound)) <= (1_152 if tag == "too many" else 0)
        same(decoder.read(9 * 44_100, 44_100), sound[9 * 44_100 : 10 * 44_100])
        assert len(decoder.read(0, decoder.length)) == decoder.length


def test_what_is_no_plain_mp3(tmp_path: Path) -> None:
    wav = write_audio(tmp_path / "a.wav", noise(1, 16_000), 16_000).read_bytes()
    layer_2 = (b"\xff\xfd\x80\x00" + bytes(413)) * 9
    free_format = (b"\xff\xfb\x00\x00" + bytes(413)) * 9
    for data in (
        b"",
        b"\xff",
        b"\xff\xfb" * 100,
        b"ID3" + bytes(300),
        bytes(500),
        b"\xff\xfb\x90\x00" + bytes(99),
        wav,
        layer_2,
        free_format,
    ):
        path = tmp_path / "a.mp3"
        path.write_bytes(data)
        assert not parts_of(path)
        assert not parts_of(path, len(data))


def test_a_frame_too_short_for_its_tag(tmp_path: Path) -> None:
    frame = (b"\xff\xf3\x10\x00" + bytes(17) + b"Xing").ljust(26, b"\0")  # 8 kbit/s, stereo
    path = tmp_path / "a.mp3"
    path.write_bytes(frame * 9)
    assert not parts_of(path)


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_survived(song: Path, head: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(song.read_bytes()[:60_000])
    for place, value in changes:
        data[place % len(data)] = value
    path = song.with_name("mutant.mp3")
    for bytes_ in (head, bytes(data), head + bytes(data)):
        path.write_bytes(bytes_)
        for index in parts_of(path, len(head)):
            with io.FileIO(path) as file:
                cut, skip = index.cut(file.fileno(), index.length // 2, 4_000)
            assert len(cut) < 40_000
            assert 0 <= skip <= 40 * 1_152


@given(
    st.sampled_from([b"\xff\xfb\x90", b"\xff\xf3\x80", b"\xff\xfb\xe4"]),  # 128 k, 64 k, 320 k at 48 kHz
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    st.integers(1, 200),
    st.integers(0, 5),
)
@example(b"\xff\xfb\x90", 49, [(48, 16)], 51, 0)  # the last of the period is short: there is room for more
@settings(max_examples=300, deadline=None)
def test_a_constant_rate_is_followed_as_any_other(
    head: bytes, count: int, changes: list[tuple[int, int]], most: int, start: int
) -> None:
    """Padded by LAME's rule; some frames have another third byte, so another size or none."""
    kbits, rate = {0x90: (128, 44_100), 0x80: (64, 22_050), 0xE4: (320, 48_000)}[head[2]]
    exact = (144_000 if rate > 32_000 else 72_000) * kbits / rate
    ends = (np.arange(count + 1) * exact).astype(int)
    data = bytearray(b"j" * start)
    thirds = dict(changes)
    for i, size in enumerate(np.diff(ends)):
        third = thirds[i] if i in thirds else head[2] | int(size > exact) << 1
        data += (head[:2] + bytes([third, 0])).ljust(int(size), b"\x55")
    got = mp3_frames._chain(bytes(data), start, len(data), most)
    expected = mp3_frames._chain_by_frame(bytes(data), start, len(data), 1_000)
    assert list(got) == expected[: len(got)]
    assert len(got) >= min(most, len(expected))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44_100, 22_050])
@pytest.mark.parametrize("mode", ["constant", "low", "variable"])
def test_a_cut_holds_nothing_of_which_the_decoder_complains(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mode: str, rate: int, channels: int
) -> None:
    path = mp3(tmp_path / "a.mp3", rate, channels, mode)
    with closing(open_decoder(path, Limits())) as decoder:
        for start in range(0, 10 * rate, 7_919):
            decoder.read(start, 2_000)
    assert capfd.readouterr().err == ""
