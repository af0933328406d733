"""How words are told from a network's answers to a stream: what `boards/src/listen/decide.c` is set to.

They travel with a model as its front end does: an entry `hil_nas.decisions` of its metadata, a buffer of JSON.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from typing import Any

from hil_nas.errors import HilNasError, InputError
from hil_nas.tflite.metadata import read_metadata, with_metadata

NAME = "hil_nas.decisions"
ONE = 1 << 15  # of thresholds and posteriors: DECIDE_ONE of decide.h, and its limits
MAX_CLASSES, MAX_AVERAGED, MAX_REFRACTORY, MAX_STEP_BITS = 64, 64, 65_535, 1 << 24
_SETTINGS = struct.Struct(f"<4I{MAX_CLASSES}H")
_VERSION = 1
PROBABILITIES = (1 / 256, -128)  # scale and zero point that TensorFlow Lite gives softmax and sigmoid


@dataclass(frozen=True)
class Decisions:
    """How words are told from answers, one for each class of the network every `period_samples`.

    Attributes:
        labels: of the network's outputs, in their order.
        thresholds: of each, what its averaged posterior must reach, in units of 1/32768; 0: it is never heard.
        period_samples: of audio from one answer to the next.
        averaged: how many answers are averaged.
        refractory: answers behind one in which a word was heard, in which none is.
        sharpness: what logits are multiplied by before posteriors are made of them. A training with smoothed labels
            gives modest ones, between which an average tells little; outputs that are probabilities stay as they are.

    Raises:
        InputError: for values that decide.c refuses.
    """

    labels: tuple[str, ...]
    thresholds: tuple[int, ...]
    period_samples: int
    averaged: int
    refractory: int
    sharpness: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MAX_CLASSES or len(self.thresholds) != len(self.labels):
            counts = f"{len(self.labels)} classes with {len(self.thresholds)} thresholds"
            raise InputError(f"{counts}, expected 1 to {MAX_CLASSES} with one each")
        for name, value, least, most in (
            ("a period", self.period_samples, 1, 1 << 24),
            ("a number of averaged answers", self.averaged, 1, MAX_AVERAGED),
            ("a refractory time", self.refractory, 0, MAX_REFRACTORY),
            ("a sharpness", self.sharpness, 1, 16),
            *(("a threshold", x, 0, ONE) for x in self.thresholds),
        ):
            if not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"{name} of {value} is no whole number from {least} to {most}")
        if not any(self.thresholds):
            raise InputError("no class has a threshold, so none can be heard")

    @property
    def keywords(self) -> tuple[int, ...]:
        """The classes that can be heard."""
        return tuple(i for i, x in enumerate(self.thresholds) if x)

    def packed(self, output_scale: float, output_zero_point: int) -> bytes:
        """`struct decide_settings` for a network whose int8 outputs have this scale and zero point.

        Raises:
            InputError: for a scale of logits that decide.c does not take.
        """
        room = (0,) * (MAX_CLASSES - len(self.labels))
        return _SETTINGS.pack(*self.settings(output_scale, output_zero_point), *self.thresholds, *room)

    def settings(self, output_scale: float, output_zero_point: int) -> tuple[int, int, int, int]:
        """The fields of `struct decide_settings` before its thresholds; raises as `packed`."""
        return len(self.labels), self.averaged, self.refractory, self._step_bits(output_scale, output_zero_point)

    def _step_bits(self, scale: float, zero_point: int) -> int:
        """By how many bits a step of a logit doubles a likelihood, in units of 2^-16; 0 for probabilities."""
        if (scale, zero_point) == PROBABILITIES:
            return 0
        step_bits = round(self.sharpness * scale * math.log2(math.e) * (1 << 16))
        if not 1 <= step_bits <= MAX_STEP_BITS:
            raise InputError(f"logits in steps of {scale:g} cannot be decided on, expected 1e-5 to 10")
        return step_bits

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def attach_decisions(model: bytes, decisions: Decisions) -> bytes:
    """The .tflite with these in its metadata, in place of those that it had.

    Raises:
        InputError: for bytes that are no .tflite.
    """
    return with_metadata(model, NAME, json.dumps({"version": _VERSION, **decisions.to_json()}).encode())


def read_decisions(model: bytes) -> Decisions | None:
    """Those in the model's metadata, None where there are none.

    Raises:
        InputError: for bytes that are no .tflite and for an entry that is something else, or of another version.
    """
    text = read_metadata(model, NAME)
    if text is None:
        return None
    try:
        data = json.loads(text)
        if data.pop("version") != _VERSION:
            raise InputError(f"the model's metadata {NAME} is not of version {_VERSION}", hint="tune it again")
        fields: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in data.items()}
        return Decisions(**fields)
    except HilNasError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise InputError(f"the model's metadata {NAME} holds no decisions: {text[:80]!r}") from None
