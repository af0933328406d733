"""A user's own folder of words, made on the spot: tones in noise, a pitch for each word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

PITCHES_HZ = {"low": 300.0, "middle": 800.0, "high": 2000.0, "other": 4000.0}
KEYWORDS = ("low", "middle", "high")


def write_tones(folder: Path, clips: int = 40) -> None:
    """`folder/<word>/<speaker>_nohash_0.wav`, so many clips of each word: two for the test, four for the validation."""
    rng = np.random.default_rng(0)
    for name, speakers in (("testing", range(2)), ("validation", range(2, 6))):
        listed = [f"{word}/{number:08x}_nohash_0.wav\n" for word in PITCHES_HZ for number in speakers]
        (folder / f"{name}_list.txt").write_text("".join(listed))
    for word, pitch_hz in PITCHES_HZ.items():
        (folder / word).mkdir()
        for number in range(clips):
            at = np.arange(16000) / 16000
            tone = np.sin(2 * np.pi * pitch_hz * rng.uniform(0.9, 1.1) * at) * rng.uniform(0.1, 0.5)
            clip = tone + rng.normal(0, 0.05, 16000)
            path = folder / word / f"{number:08x}_nohash_0.wav"
            soundfile.write(path, np.clip(clip, -1, 1), 16000, subtype="PCM_16")
