"""What networks hear, by name: the AudioSpecs of the papers, of published weights and of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..spec import AudioSpec

# As the AudioSet network's weights were trained: its pre-emphasis is a gain for each of these mels, which
# the network adds. It counts on this mean and deviation.
_AUDIOSET = AudioSpec(
    sample_rate=32_000,
    window_samples=320_000,
    frames=1_000,
    n_fft=1_024,
    win_length=800,
    hop_length=320,
    pad_mode="reflect",
    fmin=0.0,
    fmax=15_000.0,
    mel_scale="htk",
    mel_norm="none",
    mean=(-20.0,),
    std=(20.0,),
)
_AUDIOSET_16K = replace(
    _AUDIOSET,
    sample_rate=16_000,
    window_samples=160_000,
    n_fft=512,
    win_length=400,
    hop_length=160,
    n_mels=103,
    fmax=7_892.44,
    reference="mean",
    mean=(-38.0,),
)

PRESETS: Mapping[str, AudioSpec] = {
    # Twice the default hop halves the cost of log-mels and networks. Relative to its mean power a window
    # says nothing of a recording's level. Codecs keep nothing that is 80 dB below the loudest.
    "emotion4q": AudioSpec(hop_length=1_024, frames=157, reference="mean", top_db=80.0),
    # As the Hindi paper reports. It leaves the length of a window open (its clips are "about 10 s"): 10 s is
    # our choice. The mean and deviation are fitted to the training set.
    "mer500": AudioSpec(n_mels=224, fmin=0.0, reference="max", top_db=80.0, short_audio="zeros"),
    # As its authors' notebook: the first 224 x 512 samples at librosa's default rate. librosa makes 225
    # frames of them, which they resize to 224 x 224; here the first 224 frames are kept as they are.
    "mer500-notebook": AudioSpec(
        sample_rate=22_050,
        window_samples=224 * 512,
        frames=224,
        n_mels=224,
        fmin=0.0,
        fmax=8_000.0,
        reference="max",
        top_db=80.0,
        short_audio="zeros",
    ),
    # As MusiCNN's weights were trained: 3 s, librosa's mels. The network makes log10(10000 power + 1) of
    # them, which is 0 below amin, and counts on this mean and deviation: they are not measured.
    "musicnn": AudioSpec(
        window_samples=48_000,
        frames=187,
        n_fft=512,
        hop_length=256,
        n_mels=96,
        fmin=0.0,
        mean=(-20.0,),
        std=(20.0,),
    ),
    "audioset": _AUDIOSET,
    # Those of its mels that lie below 8 kHz, of sound at 16 kHz, with each window's mean power where that of
    # music usually lay. What lies above differs between files more than between songs.
    "audioset-relative": _AUDIOSET_16K,
    # Half of the sound, for half of the cost; a head knows as much from it (docs/RESULTS.md). Music is heard
    # 20 dB quieter: the network's floor at -50 dB then hides more of what is noise or a codec's errors.
    "audioset-short": replace(_AUDIOSET_16K, window_samples=75_200, frames=470, mean=(-18.0,)),
    # The same network trained further: half as often, two fifths of the cells. The mean is heard as -22 dB,
    # usual music by the published network as 18: its floor at -50 dB hides what is quiet, noise and a codec's
    # errors too.
    "audioset-16k": replace(_AUDIOSET_16K, frames=500, hop_length=320, mean=(2.0,)),
    # As the paper on Indian classical music: 44.1 kHz, 5 s, STFT 2,048 / 512. Mels and dB are our choice.
    "jumusemodb": AudioSpec(
        sample_rate=44_100,
        window_samples=220_500,
        frames=431,
        n_mels=128,
        fmin=0.0,
        fmax=22_050.0,
        short_audio="zeros",
    ),
}
