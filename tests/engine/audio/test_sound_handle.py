"""What a signal's handler raises while libsndfile reads through a view of a file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from merkit.engine.audio.containers.file_view import FileView
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.sound_handle import SoundHandle

RATE = 8_000
TAG = b"ID3\3\0\0\0\0\0\x14" + bytes(20)
ERRORS = [KeyboardInterrupt, TimeoutError, ValueError]  # the second is an OSError, as a read's error is


@pytest.fixture
def raising() -> Iterator[Callable[[type[BaseException]], None]]:
    def handler_of(kind: type[BaseException]) -> None:
        def handle(number: int, frame: FrameType | None) -> None:
            raise kind

        signal.signal(signal.SIGINT, handle)

    before = signal.getsignal(signal.SIGINT)
    yield handler_of
    signal.signal(signal.SIGINT, before)


class Signalled(FileView):
    """A view at one of whose reads or seeks there is a signal."""

    calls_left = 1 << 30

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            signal.raise_signal(signal.SIGINT)

    def readinto(self, buffer: object) -> int:
        self._count()
        return super().readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._count()
        return super().seek(offset, whence)


def _read_until_the_signal(view: Signalled) -> None:
    with closing(SoundHandle(view)) as handle:
        while view.calls_left > 0:
            handle.seek(handle.frames // 2)
            assert len(handle.read(RATE, dtype="float32")) == RATE


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("calls", range(1, 40, 3))
def test_what_a_handler_raises_is_raised_wherever_it_comes(
    tmp_path: Path, kind: type[BaseException], calls: int, raising, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = noise(20, RATE)
    path = write_audio(tmp_path / "a.flac", sound, RATE)
    raising(kind)
    with path.open("rb") as file:
        view = Signalled(file.fileno(), 0, path.stat().st_size)
        view.calls_left = calls
        with pytest.raises(kind):
            _read_until_the_signal(view)
        with closing(SoundHandle(view)) as handle:  # and the view is as good as before
            np.testing.assert_allclose(handle.read(20 * RATE, dtype="float32"), sound, atol=1e-4)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_signal_after_a_read_that_failed_is_not_lost(tmp_path: Path, suffix: str, raising) -> None:
    """libsndfile reads on after a failure, in the same call."""

    class Failing(Signalled):
        def readinto(self, buffer: object) -> int:
            before = self.calls_left
            read = super().readinto(buffer)
            if before == 2:
                raise OSError(5, "Input/output error")
            return read

    path = write_audio(tmp_path / f"a.{suffix}", noise(20, RATE), RATE)
    raising(KeyboardInterrupt)
    with path.open("rb") as file:
        for calls in range(8, 40):
            view = Failing(file.fileno(), 0, path.stat().st_size)
            view.calls_left = calls
            with suppress(KeyboardInterrupt, soundfile.LibsndfileError):
                with closing(SoundHandle(view)) as handle:
                    for place in (0, handle.frames // 2, 0):
                        handle.seek(place)
                        handle.read(RATE, dtype="float32")
                assert view.calls_left > 0


def test_a_read_that_fails_is_the_end_of_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_audio(tmp_path / "a.wav", noise(20, RATE), RATE)

    class Failing(FileView):
        def readinto(self, buffer: object) -> int:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    with path.open("rb") as file, closing(SoundHandle(Failing(file.fileno(), 0, 1 << 19))) as handle:
        assert 0 < len(handle.read(20 * RATE, dtype="float32")) < 20 * RATE
    assert capfd.readouterr().err == ""


class TooLongError(Exception):
    pass


def _read_until_the_limit(path: Path, seconds: float, sound: np.ndarray) -> None:
    with closing(open_decoder(path, Limits())) as decoder:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        for _ in range(100):
            np.testing.assert_allclose(decoder.read(0, decoder.length), sound, atol=1e-4)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer of signals")
def test_a_time_limit_holds_in_a_flac_behind_a_tag(tmp_path: Path) -> None:
    """At any instant, so also where libsndfile is about to call back."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    sound, path = noise(30, 48_000), tmp_path / "a.flac"
    path.write_bytes(TAG + write_audio(path, sound, 48_000).read_bytes())
    before = signal.signal(signal.SIGALRM, handle)
    try:
        for milliseconds in range(1, 40, 2):
            with pytest.raises(TooLongError):
                _read_until_the_limit(path, milliseconds / 1_000, sound)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
