"""Headers whose sizes lie: all of the sound is heard, and what is no sound is not."""

from __future__ import annotations

import io
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import noise
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.containers.header_repair import header_from_file
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError

RATE = 16_000
SOUND = np.stack([noise(2, RATE, 1), noise(2, RATE, 2)], axis=1)
MONO = SOUND.mean(axis=1)
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
ID3 = b"id3 " + struct.pack("<I", 3_000) + b"ID3\4" + bytes(2_996)


def encoded(kind: str, subtype: str = "PCM_16") -> bytearray:
    file = io.BytesIO()
    endian, kind = ("BIG", "WAV") if kind == "RIFX" else (None, kind)
    soundfile.write(file, SOUND, RATE, subtype, endian, kind)
    return bytearray(file.getvalue())


def heard(path: Path, data: bytes | bytearray) -> np.ndarray:
    path.write_bytes(data)
    with closing(open_decoder(path, Limits())) as decoder:
        return decoder.read(0, decoder.length)


def is_corrected(path: Path, data: bytes | bytearray) -> bool:
    path.write_bytes(data)
    with path.open("rb") as file:
        return bool(header_from_file(file.fileno()).corrections)


# kind -> (its chunk of sound, the size's offset in it, its bytes, their order, the offset of the file's size)
_LAYOUTS = {
    "WAV": (b"data", 4, 4, "little", 4),
    "WAVEX": (b"data", 4, 4, "little", 4),
    "RIFX": (b"data", 4, 4, "big", 4),
    "AIFF": (b"SSND", 4, 4, "big", 4),
    "CAF": (b"data", 4, 8, "big", None),
    "W64": (b"data", 16, 8, "little", None),
    "AU": (b".snd", 8, 4, "big", None),
}


def with_size(data: bytearray, kind: str, size: int, whole: int | None = None) -> bytearray:
    data = data.copy()
    name, offset, count, order, form = _LAYOUTS[kind]
    place = data.find(name) + offset
    data[place : place + count] = (size & (1 << 8 * count) - 1).to_bytes(count, order)  # pyright: ignore[reportArgumentType]
    if whole is not None and form:
        data[form : form + 4] = whole.to_bytes(4, order)  # pyright: ignore[reportArgumentType]
    return data


@pytest.mark.parametrize("kind", _LAYOUTS)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_all_sound_is_heard(tmp_path: Path, kind: str, subtype: str) -> None:
    true = encoded(kind, subtype)
    for size in (0, 2, 8, 1_000, 30_001, 60_000, -1, -2, 1 << 30):
        for whole in (None, 0, 36, 0xFFFFFFFF) if _LAYOUTS[kind][4] else (None,):
            samples = heard(tmp_path / "a", with_size(true, kind, size, whole))
            assert 0 <= len(samples) - len(MONO) < 4, (size, whole)
            np.testing.assert_allclose(samples[: len(MONO)], MONO, atol=1e-4)


@pytest.mark.parametrize("bits", [16, 24, 32])  # libsndfile cannot write 20 bits of stereo
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_alac_without_its_flags(tmp_path: Path, bits: int, is_wrapped: bool) -> None:
    """As FFmpeg writes it in CAF, with the settings wrapped into atoms of MP4."""
    data = encoded("CAF", f"ALAC_{bits}")
    place = data.find(b"alac") + 4
    data[place : place + 4] = bytes(4)
    place = data.find(b"kuki") + 4
    if is_wrapped:
        settings = data[place + 8 : place + 8 + 24]
        atoms = struct.pack(">I4s4sI4sI", 12, b"frma", b"alac", 36, b"alac", 0)
        data[place : place + 8 + 24] = struct.pack(">Q", 48) + atoms + settings
    assert is_corrected(tmp_path / "a", data)
    np.testing.assert_allclose(heard(tmp_path / "a", data), MONO, atol=1e-4)


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [None, 0, 1_000, -1])
def test_long_wav(tmp_path: Path, name: bytes, size: int | None) -> None:
    data = encoded("RF64")
    place = data.find(b"ds64") + 8
    if size is not None:
        data[place : place + 24] = struct.pack("<QQQ", *[size & (1 << 64) - 1] * 3)
    data[:4] = name
    np.testing.assert_allclose(heard(tmp_path / "a", data), MONO, atol=1e-4)
    place = data.find(b"data") + 4
    data[place : place + 4] = struct.pack("<I", len(data) - place - 4)  # the short size is true
    np.testing.assert_allclose(heard(tmp_path / "a", data), MONO, atol=1e-4)


@pytest.mark.parametrize("behind", [LIST, ID3, LIST + ID3, b"TAG" + bytes(125), b"APETAGEX" + bytes(5_000)])
def test_what_stands_behind_the_sound_is_no_sound(tmp_path: Path, behind: bytes) -> None:
    for data in (encoded("WAV"), with_size(encoded("WAV"), "WAV", len(MONO) * 4, whole=0)):
        assert not is_corrected(tmp_path / "a", data + behind)
        assert len(heard(tmp_path / "a", data + behind)) == len(MONO)


@pytest.mark.parametrize("size", [0, 1_000, 0xFFFFFFFF])
def test_chunks_behind_a_size_that_lies(tmp_path: Path, size: int) -> None:
    data = with_size(encoded("WAV"), "WAV", size, whole=0) + LIST + ID3
    samples = heard(tmp_path / "a", data)
    np.testing.assert_allclose(samples, MONO, atol=1e-4)


_TAG = b"ID3\4\0\0\0\0\x28\x08" + bytes(0x28 * 128 + 8)
_TAG_WITH_FOOTER = b"ID3\4\0\x10\0\0\x10\0" + bytes(2_048) + b"3DI\4\0\x10\0\0\x10\0"


@pytest.mark.parametrize("tags", [_TAG, 2 * _TAG, _TAG_WITH_FOOTER, _TAG_WITH_FOOTER + _TAG])
@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "W64", "CAF", "FLAC"])
def test_tags_before_the_header(tmp_path: Path, kind: str, tags: bytes) -> None:
    np.testing.assert_allclose(heard(tmp_path / "a", tags + encoded(kind)), MONO, atol=1e-4)
    if kind == "WAV":
        false = with_size(encoded("WAV"), "WAV", 0, 0)
        np.testing.assert_allclose(heard(tmp_path / "a", tags + false), MONO, atol=1e-4)


def test_both_sizes_agree_where_the_sound_ends(tmp_path: Path) -> None:
    """Then what follows is not sound, whatever it is."""
    data = encoded("WAV") + np.random.default_rng(0).bytes(50_000)
    assert not is_corrected(tmp_path / "a", data)
    assert len(heard(tmp_path / "a", data)) == len(MONO)


JUNK = np.random.default_rng(0).bytes(50_000)


@pytest.mark.parametrize("kind", ["WAV", "RIFX", "AIFF"])
@pytest.mark.parametrize("name", [b"LIST", b"\xa9abc"])
@pytest.mark.parametrize("behind", [b"", JUNK, JUNK * 4])
def test_chunks_up_to_the_stated_end_of_the_file(
    tmp_path: Path, kind: str, name: bytes, behind: bytes
) -> None:
    order = _LAYOUTS[kind][3]
    chunk = name + (20_000).to_bytes(4, order) + JUNK[:20_000]  # pyright: ignore[reportArgumentType]
    data = encoded(kind) + chunk
    data[4:8] = (len(data) - 8).to_bytes(4, order)  # pyright: ignore[reportArgumentType]
    assert not is_corrected(tmp_path / "a", data + behind)
    np.testing.assert_allclose(heard(tmp_path / "a", data + behind), MONO, atol=1e-4)


@pytest.mark.parametrize("kind", ["CAF", "AU", "W64"])
def test_the_only_size_is_believed_where_less_than_the_sound_follows(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    data = with_size(data, kind, SOUND.size * 2 + {"CAF": 4, "AU": 0, "W64": 24}[kind])
    chunk = b"list" + JUNK[:12] + (300_000 + 24).to_bytes(8, "little") + JUNK * 6
    for behind in (JUNK, chunk) if kind == "W64" else (JUNK,):
        assert not is_corrected(tmp_path / "a", data + behind)
        np.testing.assert_allclose(heard(tmp_path / "a", data + behind), MONO, atol=1e-4)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG"])
def test_a_true_header_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    data = encoded(kind, "VORBIS" if kind == "OGG" else "PCM_16")
    assert not is_corrected(tmp_path / "a", data)
    if kind not in ("FLAC", "OGG", "AU", "CAF"):  # in the last two libsndfile reads none of it
        assert not is_corrected(tmp_path / "a", data[: len(data) // 2]), "a file that was cut off"


def test_a_file_that_holds_no_sound(tmp_path: Path) -> None:
    data = encoded("WAV")
    head = data[: data.find(b"data") + 8]
    for rest in (b"", LIST):
        assert not is_corrected(tmp_path / "a", with_size(head, "WAV", 0, 36) + rest)


@given(st.sampled_from(sorted(_LAYOUTS)), st.integers(0, 120), st.binary(min_size=1, max_size=40))
def test_no_header_is_too_much(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, junk: bytes
) -> None:
    data = encoded(kind)
    data[place : place + len(junk)] = junk
    path = tmp_path_factory.mktemp("header") / "a"
    is_corrected(path, data)
    is_corrected(path, data[: place + 1])


def test_many_false_chunks_cost_little(tmp_path: Path) -> None:
    data = with_size(encoded("WAV"), "WAV", 0, 0) + (b"LIST" + struct.pack("<I", 0)) * 100_000 + b"\1" * 8_000
    assert is_corrected(tmp_path / "a", data)


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0x3F, "FL FR FC LFE BL BR"),
        (0x60F, "FL FR FC LFE SL SR"),
        (0x107, "FL FR FC BC"),
        (0x33, "FL FR BL BR"),
    ],
)
def test_the_channels_names_are_the_masks(tmp_path: Path, mask: int, names: str) -> None:
    channels = len(names.split())
    file = io.BytesIO()
    soundfile.write(file, np.zeros((1_000, channels)), RATE, "PCM_16", format="WAVEX")
    data = bytearray(file.getvalue())
    place = data.find(b"fmt ") + 8 + 20
    data[place : place + 4] = struct.pack("<I", mask)
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as file:
        assert header_from_file(file.fileno()).wav.names == tuple(names.split())


@pytest.mark.parametrize("kind", ["WAV", "RIFX"])
@pytest.mark.parametrize("stated", ["modulo", "never finished"])
@pytest.mark.parametrize("behind", [b"", LIST])
def test_a_wav_of_more_than_4_gb(tmp_path: Path, kind: str, stated: str, behind: bytes) -> None:
    if kind == "RIFX":
        behind = behind.replace(struct.pack("<I", 26), struct.pack(">I", 26))
    path, true = tmp_path / "a", encoded(kind)
    head, count = true[: true.find(b"data") + 8], (5 << 30) // 4
    size, whole = 4 * count, 4 * count + len(head) + len(behind) - 8
    sizes = (size, whole & 0xFFFFFFFF) if stated == "modulo" else (0, 0)
    sound, at = true[len(head) :], len(head) + 4 * (count - len(MONO))
    with path.open("wb") as file:
        file.write(with_size(head, kind, *sizes))
        file.truncate(at)  # sparse: it takes no room
        file.seek(at)
        file.write(sound[: 4 * len(MONO)] + behind)
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.length == count
        np.testing.assert_allclose(decoder.read(count - len(MONO), 2 * len(MONO)), MONO, atol=1e-4)


def in_chunks(kind: str, counts: list[int], between: bytes = b"") -> bytes:
    """A file whose sound stands in chunks of so many samples."""
    data, size = bytes(encoded(kind)), 4 * len(MONO)
    head, sound = data[:-size], data[-size:]
    name, offset, size_bytes, order, _ = _LAYOUTS["WAV" if kind in ("RF64", "BW64") else kind]
    at, chunks = head.rfind(name), []
    for count in counts:
        part, sound = sound[: 4 * count], sound[4 * count :]
        stated = len(part) + (24 if kind == "W64" else 0)
        chunks.append(head[at : at + offset] + stated.to_bytes(size_bytes, order) + part)  # pyright: ignore[reportArgumentType]
    if kind == "RF64":
        chunks[0] = b"data\xff\xff\xff\xff" + chunks[0][8:]
        place = head.find(b"ds64") + 16
        head = head[:place] + struct.pack("<Q", 4 * counts[0]) + head[place + 8 :]
    return head[:at] + between.join(chunks)


WHOLE = len(MONO)


@pytest.mark.parametrize("kind", ["WAV", "RIFX", "RF64", "W64"])
@pytest.mark.parametrize(
    "counts",
    [[10_000, WHOLE - 10_000], [WHOLE - 8, 8], [8, 16, WHOLE - 24], [WHOLE, 0], [0, WHOLE], [0, WHOLE, 0]],
)
def test_sound_in_several_chunks(tmp_path: Path, kind: str, counts: list[int]) -> None:
    if kind == "W64":  # chunks of whole 8 bytes: the others need padding
        between = b"junk" + bytes(12) + struct.pack("<Q", 32) + bytes(8)
    else:
        between = b"junk" + (6).to_bytes(4, _LAYOUTS["WAV" if kind == "RF64" else kind][3]) + bytes(6)  # pyright: ignore[reportArgumentType]
    for data in (in_chunks(kind, counts), in_chunks(kind, counts, between)):
        samples = heard(tmp_path / "a", data)
        assert len(samples) == len(MONO)
        np.testing.assert_allclose(samples, MONO, atol=1e-4)


def test_further_chunks_of_equal_format_only(tmp_path: Path) -> None:
    data = encoded("WAV")
    described = bytes(data[data.find(b"fmt ") : data.find(b"fmt ") + 24])
    other = described[:-2] + b"\x08\0"
    samples = heard(tmp_path / "a", in_chunks("WAV", [10_000, WHOLE - 10_000], described))
    np.testing.assert_allclose(samples, MONO, atol=1e-4)
    samples = heard(tmp_path / "a", in_chunks("WAV", [10_000, WHOLE - 10_000], other))
    np.testing.assert_allclose(samples, MONO[:10_000], atol=1e-4)


def test_a_further_chunk_of_a_half_sample_or_cut_off_shifts_nothing(tmp_path: Path) -> None:
    first, second = in_chunks("WAV", [10_000, 0]), in_chunks("WAV", [0, WHOLE])[-4 * WHOLE :]
    half = first[:-8].replace(struct.pack("<I", 40_000), struct.pack("<I", 40_001)) + b"\1\0"
    rest = second[40_000:]
    samples = heard(tmp_path / "a", half + b"data" + struct.pack("<I", len(rest)) + rest)
    np.testing.assert_allclose(samples, MONO, atol=1e-4)


def test_the_name_of_a_chunk_in_what_is_no_chunk(tmp_path: Path) -> None:
    junk = b"junk" + struct.pack("<I", 400) + (b"data" + struct.pack("<I", 40)).ljust(400, b"\1")
    samples = heard(tmp_path / "a", encoded("WAV") + junk)
    assert len(samples) == len(MONO)


@pytest.mark.parametrize("kind", ["WAV", "RIFX", "AIFF"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [9, 10])
def test_odd_chunks_without_padding_before_the_sound(
    tmp_path: Path, kind: str, count: int, size: int
) -> None:
    data = bytes(encoded(kind))
    text = b"NAME" + size.to_bytes(4, _LAYOUTS[kind][3]) + b"x" * size  # pyright: ignore[reportArgumentType]
    for before in (b"fmt ", b"data") if kind != "AIFF" else (b"COMM", b"SSND"):
        place = data.find(before)
        samples = heard(tmp_path / "a", data[:place] + count * text + data[place:])
        np.testing.assert_allclose(samples, MONO, atol=1e-4)


def in_aiff_c(kind: bytes, sound: bytes, bits: int, is_little: bool) -> bytes:
    """Little-endian as QuickTime says so."""
    settings = struct.pack(">I4s4sI4sHII", 12, b"frma", kind, 10, b"enda", is_little, 8, 0)
    data = bytes(encoded("AIFF"))
    common = data.find(b"COMM") + 8
    common_chunk = b"COMM" + struct.pack(">I", 24) + data[common : common + 6] + struct.pack(">H", bits)
    common_chunk += data[common + 8 : common + 18] + kind + b"\0\0"
    sound_chunk = b"SSND" + struct.pack(">I", len(sound) + 8) + bytes(8) + sound
    chunks = common_chunk + b"wave" + struct.pack(">I", len(settings)) + settings + sound_chunk
    return b"FORM" + struct.pack(">I", len(chunks) + 4) + b"AIFC" + chunks


@pytest.mark.parametrize("is_little", [True, False])
@pytest.mark.parametrize(("bits", "stated"), [(24, 24), (32, 32), (24, 16), (32, 16), (32, 24), (24, 20)])
def test_integers_of_aiff_c(tmp_path: Path, bits: int, stated: int, is_little: bool) -> None:
    numbers = np.round(SOUND * 2.0 ** (bits - 1)).astype("<i4")
    sound = numbers[..., None].view(np.uint8)[..., : bits // 8]
    data = (sound if is_little else sound[..., ::-1]).tobytes()
    kinds = {24: b"in24", 32: b"in32"}
    samples = heard(tmp_path / "a", in_aiff_c(kinds[bits], data, stated, is_little))
    np.testing.assert_allclose(samples, MONO, atol=1e-4)
    if is_little:
        kinds = {24: b"42ni", 32: b"23ni"}
        samples = heard(tmp_path / "a", in_aiff_c(kinds[bits], data, stated, is_little))
        np.testing.assert_allclose(samples, MONO, atol=1e-4)


def test_floats_of_aiff_c_in_the_other_order_are_refused(tmp_path: Path) -> None:
    big = in_aiff_c(b"fl32", SOUND.astype(">f4").tobytes(), 32, is_little=False)
    np.testing.assert_allclose(heard(tmp_path / "a", big), MONO, atol=1e-4)
    with pytest.raises(AudioError, match="little-endian floats in AIFF-C"):
        heard(tmp_path / "a", in_aiff_c(b"fl32", SOUND.astype("<f4").tobytes(), 32, is_little=True))
