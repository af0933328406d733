"""What listens to a stream: front end, network and decisions together, as `boards/src/listen/listen.c` takes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from hil_nas.deploy.decisions import Decisions
from hil_nas.deploy.front_end_metadata import read_front_end
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd

_SETTINGS = struct.Struct("<2I")  # before `struct decide_settings`, in what a board is sent


@dataclass(frozen=True)
class Listening:
    """A network that answers every `step` frames, on the last `rows` frames that it reads.

    Attributes:
        front_end: whose clip is the window that an answer is of.
        step: frames from one run of the network to the next: the period in hops.
        warm_up: runs whose answers count for nothing.
        stream: whether the network keeps what it needs of earlier frames; else it reads all of a sliding window.
    """

    plan: Plan
    front_end: FrontEnd
    decisions: Decisions
    step: int
    warm_up: int
    stream: bool

    @property
    def rows(self) -> int:
        return self.plan.input_bytes // self.front_end.columns

    @property
    def way(self) -> str:
        """For people."""
        return "as a stream" if self.stream else "in sliding windows"

    @property
    def blob(self) -> bytes:
        """Of the front end, with the scale of the network's input."""
        return self.front_end.blob(self.plan.input_scale, self.plan.input_zero_point)

    @property
    def output(self) -> tuple[float, int]:
        """Scale and zero point of the answers."""
        return self.plan.output_scale, self.plan.output_zero_point

    @property
    def decide_settings(self) -> bytes:
        """`struct decide_settings`."""
        return self.decisions.packed(*self.output)

    def packed(self) -> bytes:
        """What `hil load listen` takes."""
        return _SETTINGS.pack(self.step, self.warm_up) + self.decide_settings

    @property
    def first_samples(self) -> int:
        """Where the first answer's window ends: when the frames of whole periods are a window's."""
        runs = -(-self.front_end.frames // self.step)
        return self.front_end.window_samples + (runs * self.step - 1) * self.front_end.hop_samples

    @property
    def period_samples(self) -> int:
        return self.step * self.front_end.hop_samples

    def answers_in(self, samples: int) -> int:
        """How many answers so much audio gives."""
        return max(0, 1 + (samples - self.first_samples) // self.period_samples)


def sliding_windows(model: bytes, decisions: Decisions) -> Listening:
    """A network that hears a whole window anew in every period of the decisions.

    Args:
        model: a .tflite with a front end in its metadata.

    Raises:
        InputError: for a model without a front end, a period that is no whole number of hops or longer than the window,
            and decisions that are not of its outputs.
    """
    config, plan = read_front_end(model), lower(read_tflite(model))
    if config is None:
        raise InputError("the model names no front end, so it cannot listen")
    if plan.input_bytes != config.output_bytes:
        raise InputError(f"{config} gives {config.output_bytes} values, the network reads {plan.input_bytes}")
    return _checked(Listening(plan, config, decisions, _hops(config, decisions), 0, stream=False))


def stream_steps(step_model: bytes, windows: Listening) -> Listening:
    """The network of these sliding windows as a stream, whose every step hears the new frames alone.

    Args:
        step_model: the .tflite of one step.

    Raises:
        InputError: for a step of another length than the decisions' period, or with other outputs.
    """
    frames, plan = step_frames(step_model, windows.front_end), lower(read_tflite(step_model))
    if frames != windows.step:
        raise InputError(f"a step of the stream is {frames} frames, the decisions' period {windows.step}")
    warm_up = -(-windows.front_end.frames // frames) - 1
    return _checked(replace(windows, plan=plan, warm_up=warm_up, stream=True))


def step_frames(step_model: bytes, config: FrontEnd) -> int:
    """How many frames of a front end one step of a stream reads.

    Raises:
        InputError: where it reads no whole ones, or more than a window's.
    """
    graph = read_tflite(step_model)
    frames, rest = divmod(graph.tensors[graph.input].elements, config.columns)
    if rest or not 1 <= frames <= config.frames:
        raise InputError(f"a step of a stream that reads no whole number of 1 to {config.frames} frames of {config}")
    return frames


def _checked(listening: Listening) -> Listening:
    classes, outputs = len(listening.decisions.labels), listening.plan.output_bytes
    if classes != outputs:
        raise InputError(f"decisions on {classes} classes for a network with {outputs} outputs")
    return listening


def _hops(config: FrontEnd, decisions: Decisions) -> int:
    """The decisions' period in hops."""
    hops, rest = divmod(decisions.period_samples, config.hop_samples)
    if rest or not 1 <= hops <= config.frames:
        raise InputError(
            f"a period of {decisions.period_samples} samples is no whole number of 1 to {config.frames} hops of "
            f"{config}, {config.hop_samples} samples each"
        )
    return hops
