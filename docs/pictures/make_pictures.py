"""Makes README's two pictures with the program itself, of the pieces in examples/.

Run ``python docs/pictures/make_pictures.py`` from the repository's root; it needs merkit[plot,tags] and
Chromium.
"""

import subprocess
import tempfile
from itertools import permutations
from pathlib import Path

import mutagen
import numpy as np
import soundfile
import soxr
from PIL import Image

HERE = Path(__file__).parent
PIECES = ("quick_major_with_drums.mp3", "harsh_fast_drums.ogg", "slow_minor.ogg", "slow_major.mp3")


def read(piece: str) -> tuple[str, np.ndarray, int]:
    """A piece's title, samples [n, channels] and rate."""
    samples, rate = soundfile.read(HERE.parents[1] / "examples" / piece, always_2d=True, dtype="float32")
    return piece.partition(".")[0].replace("_", " ").capitalize(), samples, rate


def song_picture(folder: Path) -> None:
    """The four pieces one after the other, as one song."""
    parts = [read(piece) for piece in PIECES]
    song = folder / "Four pieces.flac"
    soundfile.write(song, np.concatenate([samples for _, samples, _ in parts]), parts[0][2])
    label(song, "--windows", "all", "--hop", "1", "--plot", folder / "song.png")
    shrunk(folder / "song.png", 900)


def page_picture(folder: Path) -> None:
    """Each piece at six tempos and each with each of the others, as a catalogue."""
    music = folder / "music"
    music.mkdir()
    parts = [read(piece) for piece in PIECES]
    for title, samples, rate in parts:
        for tempo in (0.8, 0.9, 0.95, 1.05, 1.1, 1.25):
            write(
                music,
                f"At tempo {tempo}",
                title,
                "At six tempos",
                soxr.resample(samples, rate, rate / tempo),
                rate,
            )
    for (first, one, rate), (second, other, _) in permutations(parts, 2):
        both = np.concatenate([one[: 14 * rate], other[: 14 * rate]])
        write(music, f"Then {second.lower()}", first, "One and another", both, rate)
    label(music, "--windows", "all", "--hop", "2", "--out", f"{folder}/labels/")
    subprocess.run(
        ["mer-label", "page", folder / "labels", "-o", folder / "page.html", "--title", "Examples"],
        check=True,
    )
    subprocess.run(
        [
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--window-size=1300,820", "--virtual-time-budget=8000",
            f"--screenshot={folder / 'page.png'}", (folder / "page.html").as_uri(),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    shrunk(folder / "page.png", 1_300)


def write(music: Path, title: str, artist: str, album: str, samples: np.ndarray, rate: int) -> None:
    path = music / f"{artist}, {title.lower()}.flac"
    soundfile.write(path, samples, rate)
    file = mutagen.File(path)
    file.update(title=title, artist=artist, album=album)
    file.save()


def label(path: Path, *options: object) -> None:
    subprocess.run(["mer-label", path, "--quiet", *map(str, options)], check=True, stdout=subprocess.DEVNULL)


def shrunk(picture: Path, width: int) -> None:
    """Into this folder, with 128 colours."""
    image = Image.open(picture).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.quantize(128, dither=Image.Dither.NONE).save(HERE / picture.name, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        song_picture(Path(name))
        page_picture(Path(name))
