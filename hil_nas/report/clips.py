"""Clips to be heard in a page, beside what the device sees of them: WAV and PNG inside the page itself."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_nas.audio.long_audio import wav_file
from hil_nas.report.svg import percent
from hil_nas.workflows.worst_clips import WorstClips

_SHADES = ((0, 0, 4), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))
_SHOWN = 3  # answers of a clip


@dataclass(frozen=True)
class Clip:
    """
    Attributes:
        answers: the likeliest, each with its posterior, as text; what was spoken is always among them.
        audio, picture: data URIs.
    """

    title: str
    answers: str
    audio: str
    picture: str
    seen: str


def clips_of(worst: WorstClips, labels: Sequence[str]) -> list[Clip]:
    """The worst first."""
    made, pictures = [], stretched(worst.features)
    for i in range(len(worst)):
        order = np.argsort(-worst.posteriors[i], kind="stable").tolist()
        own, first = int(worst.labels[i]), order[0]
        shown = order[:_SHOWN] if own in order[:_SHOWN] else [*order[: _SHOWN - 1], own]
        frames, columns = worst.features[i].shape
        made.append(Clip(
            f"{labels[own]}, answered {labels[first]}",
            ", ".join(f"{labels[x]} {percent(worst.posteriors[i][x])}" for x in shown),
            _uri("audio/wav", wav_file(worst.samples[i], int(worst.sample_rate_hz))),
            _uri("image/png", png(pictures[i].T[::-1])),
            f"clip {int(worst.places[i])} of the test split; {frames} frames of {columns} features, int8",
        ))  # fmt: skip
    return made


def stretched(features: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """int8 (clips, frames, columns) as 0 to 255, each column over its own range in these clips: the first cosine
    coefficient spans int8, the last ones little of it."""
    values = features.astype(np.float64)
    low, high = values.min(axis=(0, 1), initial=127), values.max(axis=(0, 1), initial=-128)
    shades: npt.NDArray[np.uint8] = ((values - low) / np.maximum(high - low, 1) * 255).round().astype(np.uint8)
    return shades


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(rows, columns) as a picture of a pixel each, from dark to light (PNG, 8 bits with a palette)."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", _palette()), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*x) for x in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette() -> bytes:
    """256 shades whose lightness grows evenly."""
    at = np.linspace(0, len(_SHADES) - 1, 256)
    channels = [np.interp(at, range(len(_SHADES)), [x[c] for x in _SHADES]) for c in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
