"""Makes the clips beside this file: scores written here, played by FluidSynth, and no claim about emotions.

Run ``python examples/make_clips.py`` from the repository's root; on Debian it needs ``apt-get install
fluidsynth fluid-soundfont-gm``. The instruments are those of the soundfont FluidR3 (Frank Wen, MIT licence).
slow_minor is the opening of Chopin's prelude op. 28 no. 4, slow_major Pachelbel's canon, arranged here: both
are in the public domain. The other two were composed for this file.
"""

import random
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 44_100, 18
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
DRUMS = 9  # the channel that General MIDI keeps for them
KICK, SNARE, CLAP, CLOSED, OPEN, CRASH, RIDE, TAMBOURINE = 36, 38, 39, 42, 46, 49, 51, 54


class Score:
    """Notes in beats, played a little unevenly, as hands do."""

    def __init__(self, tempo: float, instruments: dict[int, tuple[int, int]]) -> None:
        """``instruments``: program and volume of each channel."""
        self.tempo, self.random = tempo, random.Random(4)
        self.events: list[tuple[int, bytes]] = []
        for channel, (program, volume) in instruments.items():
            self.events += [(0, bytes((0xC0 | channel, program))), (0, bytes((0xB0 | channel, 7, volume)))]

    def play(self, channel: int, start: float, beats: float, notes: int | list[int], loudness: int) -> None:
        for note in [notes] if isinstance(notes, int) else notes:
            late = max(0.01, start + self.random.gauss(0.01, 0.008) * self.tempo / 60)
            velocity = min(127, max(1, round(self.random.gauss(loudness, 4))))
            self.events.append((round(480 * late), bytes((0x90 | channel, note, velocity))))
            self.events.append((round(480 * (late + beats)), bytes((0x80 | channel, note, 0))))

    def line(self, channel: int, start: float, notes: Sequence[tuple[int, float]], loudness: int) -> None:
        """One note (0: a rest) after the other."""
        for note, beats in notes:
            if note:
                self.play(channel, start, 0.95 * beats, note, loudness)
            start += beats

    def midi(self) -> bytes:
        track, now = b"\0\xff\x51\3" + round(60e6 / self.tempo).to_bytes(3, "big"), 0
        for tick, message in sorted(self.events):
            wait, now = tick - now, tick
            track += bytes((0x80 | wait >> 14, 0x80 | wait >> 7 & 127, wait & 127)) + message
        track += b"\0\xff\x2f\0"
        return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track


def slow_minor() -> Score:
    """Piano, strings, a cello, a saxophone; in A minor."""
    score = Score(62, {0: (0, 110), 1: (48, 70), 2: (42, 85), 3: (65, 100)})
    chords = [[48, 52, 57]] * 8 + [[47, 50, 57]] * 4 + [[47, 50, 56]] * 4 + [[46, 50, 56]] * 4
    chords += [[46, 50, 55]] * 4 + [[45, 49, 55]] * 4 + [[45, 48, 55]] * 2 + [[45, 48, 54]] * 2
    chords += [[45, 47, 54]] * 4 + [[45, 47, 53]] * 4
    for i, chord in enumerate(chords):
        score.play(0, i / 2, 0.48, chord, 54 if i % 2 else 60)
        if i % 4 == 0:
            score.play(1, i / 2, 2, chord, 45)
    score.line(2, 0, [(33, 4), (35, 4), (34, 4), (33, 8)], 60)
    score.line(3, 0, [(64, 3), (65, 1)] * 3 + [(64, 3), (63, 1), (62, 3), (64, 1)], 80)
    return score


def slow_major() -> Score:
    """Guitar, harp, strings, a flute."""
    score = Score(60, {0: (24, 110), 1: (46, 80), 2: (48, 70), 3: (73, 75), 4: (32, 80)})
    roots = [50, 45, 47, 42, 43, 38, 43, 45, 50]
    chords = [[62, 66, 69], [61, 64, 69], [62, 66, 71], [61, 66, 69], [62, 67, 71], [62, 66, 69]]
    chords += [[62, 67, 71], [61, 64, 69], [62, 66, 69]]
    for i, (root, chord) in enumerate(zip(roots, chords, strict=True)):
        score.play(2, 2 * i, 2, chord, 50)
        score.play(4, 2 * i, 1.9, root - 12 if root > 45 else root, 60)
        for j, note in enumerate([root + 12 if root < 45 else root, chord[0], chord[1], chord[2]]):
            score.play(0, 2 * i + j / 2, 1.5, note, 62)
        score.play(1, 2 * i + 1, 1, chord[1] + 12, 45)
    score.line(3, 0, [(78, 2), (76, 2), (74, 2), (73, 2), (71, 2), (69, 2), (71, 2), (73, 2), (74, 2)], 58)
    return score


def quick_major_with_drums() -> Score:
    """Piano, bass, guitar, brass, drums."""
    score = Score(138, {0: (0, 105), 1: (33, 110), 2: (25, 85), 3: (61, 95), 4: (56, 90), DRUMS: (0, 115)})
    tune = [(71, 0.5), (74, 0.5), (79, 1), (78, 0.5), (79, 0.5), (76, 1), (74, 0.5), (71, 0.5), (74, 1)]
    tune += [(69, 1), (0, 1), (72, 0.5), (76, 0.5), (79, 1), (81, 0.5), (79, 0.5), (78, 1)]
    tune += [(79, 1.5), (74, 0.5), (79, 1), (0, 1)]
    chords = [[55, 59, 62], [57, 62, 66], [60, 64, 67], [55, 59, 62]]
    for bar in range(10):
        start, chord, root = 4 * bar, chords[bar % 4], (43, 38, 36, 43)[bar % 4]
        for i in range(8):
            score.play(1, start + i / 2, 0.4, root + (7 if i in (3, 7) else 0), 95)
            score.play(DRUMS, start + i / 2, 0.2, [TAMBOURINE, OPEN if i == 7 else CLOSED], 80 - i % 2 * 10)
            score.play(2, start + i / 2, 0.4, [note + 12 for note in chord], 80 if i % 2 else 65)
        for i in (0, 1.5, 3):
            score.play(0, start + i, 0.7, [*chord, chord[0] + 12], 85)
        for i, drums in (0, [KICK]), (1, [SNARE, CLAP]), (2, [KICK]), (2.5, [KICK]), (3, [SNARE, CLAP]):
            score.play(DRUMS, start + i, 0.2, drums, 102)
        score.play(3, start + 3.5, 0.4, [note + 12 for note in chord], 95)
    for start in (0, 16, 32):
        score.play(DRUMS, start, 1, CRASH, 95)
        score.line(4, start, tune, 95)
        score.line(0, start, [(note and note + 12, beats) for note, beats in tune], 75)
    return score


def harsh_fast_drums() -> Score:
    """Two distorted guitars, a lead, bass, drums."""
    score = Score(184, {0: (30, 105), 1: (29, 95), 2: (34, 110), 3: (30, 85), DRUMS: (0, 120)})
    riff = [40, 40, 41, 40, 40, 46, 40, 45, 40, 40, 41, 40, 43, 42, 41, 39]
    for bar in range(14):
        start, up = 4 * bar, (0, 0, 1, -2)[bar // 2 % 4]
        for i, root in enumerate(note + up for note in riff):
            score.play(DRUMS, start + i / 4, 0.1, KICK, 105)
            for channel, notes in (0, [root, root + 7]), (1, [root, root + 7]), (2, [root - 12]):
                score.play(channel, start + i / 4, 0.22, notes, 108)
        for i in range(8):
            score.play(DRUMS, start + i / 2, 0.2, OPEN if i % 2 else [SNARE, RIDE], 108)
        if bar % 2 == 0:
            score.play(DRUMS, start, 1, CRASH, 115)
            score.line(3, start, [(76 + up, 2), (77 + up, 2), (82 + up, 3), (81 + up, 1)], 95)
    return score


def main() -> None:
    """Writes every clip in mono at -3 dB of full scale; it fades out."""
    fade = np.linspace(SECONDS / 2, 0, SECONDS * RATE).clip(0, 1)  # the last two seconds
    with tempfile.TemporaryDirectory() as folder:
        wave, midi = Path(folder, "clip.wav"), Path(folder, "clip.mid")
        for piece in slow_minor, slow_major, quick_major_with_drums, harsh_fast_drums:
            midi.write_bytes(piece().midi())
            subprocess.run(["fluidsynth", "-niqg0.4", f"-r{RATE}", "-F", wave, SOUNDFONT, midi], check=True)
            clip = soundfile.read(wave)[0].mean(axis=1)[: SECONDS * RATE] * fade
            kind, subtype = ("MP3", "MPEG_LAYER_III") if "major" in piece.__name__ else ("OGG", "VORBIS")
            path = Path(__file__).with_name(f"{piece.__name__}.{kind.lower()}")
            with soundfile.SoundFile(path, "w", RATE, 1, subtype, format=kind) as file:
                for part in np.array_split(0.7 * clip / np.abs(clip).max(), 64):
                    file.write(part)


if __name__ == "__main__":
    main()
