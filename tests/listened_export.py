"""The same audio through an export here, through the firmware on a board and through the host's listening."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile

from hil_nas.deploy.decisions import ONE
from hil_nas.device.device import Device
from hil_nas.device.heard import BoardDecision, uploads
from hil_nas.listening.host import Decided, HostListener
from hil_nas.workflows.verify_listen import differing_decisions

Word = tuple[str, str, int]  # seconds, word, posterior


def words_of(decided: Decided, labels: tuple[str, ...], rate_hz: int) -> list[Word]:
    """As the export's example prints them."""
    heard = [(i, int(x)) for i, x in enumerate(decided.heard) if x >= 0]
    return [_word(int(decided.ends[i]), x, int(decided.averages[i, x]), labels, rate_hz) for i, x in heard]


def board_words(decisions: list[BoardDecision], labels: tuple[str, ...], rate_hz: int) -> list[Word]:
    return [_word(x.samples, x.heard, x.posterior, labels, rate_hz) for x in decisions if x.heard >= 0]


def _word(samples: int, word: int, posterior: int, labels: tuple[str, ...], rate_hz: int) -> Word:
    ms = samples * 1000 // rate_hz
    assert posterior <= ONE
    return f"{ms // 1000}.{ms % 1000:03d}", labels[word], posterior


def export_words(home: Path, audio: Path, *, make: tuple[str, ...] = ()) -> list[Word]:
    """What the example of a built export hears in a file; with what is given to make, in QEMU."""
    command = ["make", "-s", *make, "run", f"AUDIO={audio}"] if make else ["build/native/example", str(audio)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    lines = [x.split() for x in done.stdout.splitlines() if " s " in x]
    return [(seconds, word, round(float(posterior) * ONE)) for seconds, _, posterior, word in lines]


def listen_on(device: Device, host: HostListener, samples: np.ndarray) -> tuple[list[BoardDecision], int]:
    """What the board decides on so much more of a stream, and how many decisions the host makes otherwise."""
    decisions: list[BoardDecision] = []
    for piece in uploads(samples, host.listening.period_samples):
        decisions += device.listen(piece)
    return decisions, differing_decisions(decisions, host.push(samples))


def speech_and_noise(folder: Path, seconds: int, rate_hz: int = 16_000, seed: int = 0) -> np.ndarray:
    """int16 (samples,): all recordings of a folder one after the other, then noise whose colour and level change."""
    parts = [soundfile.read(x, dtype="int16")[0] for x in sorted(folder.rglob("*.flac"))] if folder.is_dir() else []
    wanted, rng = seconds * rate_hz, np.random.default_rng(seed)
    while sum(map(len, parts)) < wanted:
        parts.append(rng.normal(0, 10 ** rng.uniform(0.5, 4), rate_hz).cumsum() % 20_000 - 10_000)
    return np.concatenate(parts)[:wanted].astype(np.int16)
