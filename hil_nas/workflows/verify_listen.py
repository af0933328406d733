"""Listens to recordings on a board and on the host, and compares every answer and every decision to the bit.

The board hears as a product does, a period at a time; what it counts for a decision are the new frames, the network and
the decision itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hil_nas.audio.decode import Samples, audio_blocks
from hil_nas.audio.long_audio import LongRecording, long_recordings
from hil_nas.budget import Budget
from hil_nas.deploy.listening import Listening
from hil_nas.device.device import Device
from hil_nas.device.heard import BoardDecision, uploads
from hil_nas.errors import InputError, RefusedError
from hil_nas.listening.host import Decided, HostListener
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.workflows.measure import latency_ms
from hil_nas.workflows.memory_lines import flash_lines, listening_ram_lines
from hil_nas.workflows.verify import missed_limits, name_of


@dataclass(frozen=True)
class ListenVerification:
    """What a board did with recordings.

    Attributes:
        way: as a stream or in sliding windows.
        tuned: whether the decisions are those of a tuning.
        period_ms: from one decision to the next.
        clock: kind (silicon, modelled, instructions or host), Hz, and the error in percent of a modelled one.
        decisions: that were compared, over all recordings.
        differing_decisions: of which the answer, what was heard, its posterior or its time differs from the host's.
        heard: words, over all recordings.
        median_cycles, worst_cycles: of a decision, without the first of each recording, before which a whole window's
            frames were made; None where there was no other.
        median_load, worst_load: of the processor while it listens, a decision's cycles over those of a period; None
            where the clock counts no time.
        ram, flash: lines of bytes; the sums are `ram_bytes` and `flash_bytes`.
        missed: one sentence for each limit that does not hold.
    """

    board: str
    clock: dict[str, Any]
    engine: str
    build: str
    front_end: str
    way: str
    tuned: bool
    period_ms: float
    recordings: int
    seconds: float
    decisions: int
    differing_decisions: int
    heard: int
    median_cycles: int | None
    worst_cycles: int | None
    median_load: float | None
    worst_load: float | None
    ram: dict[str, int]
    flash: dict[str, int]
    limits: dict[str, Any]
    missed: tuple[str, ...]

    @property
    def bits_equal(self) -> bool:
        return self.differing_decisions == 0

    def to_json(self) -> dict[str, Any]:
        sums = {"ram_bytes": sum(self.ram.values()), "flash_bytes": sum(self.flash.values())}
        return {**asdict(self), **sums, "bits_equal": self.bits_equal}


def verify_listen(
    device: Device,
    listening: Listening,
    host: HostListener,
    audio: Sequence[Path],
    *,
    budget: Budget,
    tuned: bool,
    progress: Reporter = silent,
) -> ListenVerification:
    """As `verify_heard`, of recordings in files.

    Args:
        audio: recordings and folders of them, each a stream of its own.

    Raises:
        InputError: for audio that cannot be read, or that gives no answer.
        RefusedError: where the board has no room for it.
    """
    rate_hz = listening.front_end.clip.sample_rate_hz
    heard = [(x.name, partial(_samples, x, rate_hz)) for x in long_recordings(audio)]
    return verify_heard(device, listening, host, heard, budget=budget, tuned=tuned, progress=progress)


def verify_heard(
    device: Device,
    listening: Listening,
    host: HostListener,
    recordings: Sequence[tuple[str, Callable[[], Samples]]],
    *,
    budget: Budget,
    tuned: bool,
    progress: Reporter = silent,
) -> ListenVerification:
    """Everything that is claimed about a model that listens on a board.

    Args:
        host: by the same `listening`.
        recordings: by name, each a stream of its own.
        budget: its limit of latency is that of a decision.

    Raises:
        InputError: for recordings that give no answer.
        RefusedError: where the board has no room for it.
    """
    device.reset()  # its deepest stack is then this model's own, whatever ran before
    _load(device, listening)
    cycles: list[int] = []
    seconds, decisions, differing, heard = 0.0, 0, 0, 0
    for number, (called, read) in enumerate(recordings, start=1):
        samples = read()
        name = f"{called} ({number} of {len(recordings)})"
        board = _listened(device, listening, samples, name, progress)
        host.restart()
        expected = host.push(samples)
        differing += differing_decisions(board, expected)
        cycles += [x.cycles for x in board[1:]]
        seconds += len(samples) / listening.front_end.clip.sample_rate_hz
        decisions += len(expected)
        heard += sum(x.heard >= 0 for x in board)
    if not decisions:
        raise InputError("the recordings are shorter than a window", hint="name longer ones")
    identity, memory = device.identify(), device.memory()
    rate_hz = listening.front_end.clip.sample_rate_hz
    period_ms = 1e3 * listening.period_samples / rate_hz
    median, worst = (statistics.median_low(cycles), max(cycles)) if cycles else (None, None)
    median_ms, worst_ms = (
        None if x is None else latency_ms(identity.clock_kind, identity.clock_hz, x) for x in (median, worst)
    )
    ram, flash = listening_ram_lines(memory), flash_lines(memory)
    return ListenVerification(
        board=name_of(identity),
        clock=identity.clock,
        engine=identity.engine,
        build=identity.build,
        front_end=str(listening.front_end),
        way=listening.way,
        tuned=tuned,
        period_ms=period_ms,
        recordings=len(recordings),
        seconds=seconds,
        decisions=decisions,
        differing_decisions=differing,
        heard=heard,
        median_cycles=median,
        worst_cycles=worst,
        median_load=None if median_ms is None else median_ms / period_ms,
        worst_load=None if worst_ms is None else worst_ms / period_ms,
        ram=ram,
        flash=flash,
        limits=asdict(budget),
        missed=missed_limits(budget.of_decision(period_ms / 1e3), worst_ms, sum(ram.values()), sum(flash.values())),
    )


def differing_decisions(board: Sequence[BoardDecision], host: Decided) -> int:
    """How many decisions the two did not make alike, those that only one of them made included."""
    equal = 0
    for i, x in enumerate(board[: len(host)]):
        heard = int(host.heard[i])
        posterior = int(host.averages[i, heard]) if heard >= 0 else 0
        expected = (int(host.ends[i]) % (1 << 32), host.answers[i].tobytes(), heard, posterior)
        equal += (x.samples, x.answer, x.heard, x.posterior) == expected
    return max(len(board), len(host)) - equal


def _load(device: Device, listening: Listening) -> None:
    try:
        device.load_plan(listening.plan.to_bytes())
        device.load_front_end(listening.blob)
        device.load_listening(listening.packed())
    except RefusedError as error:
        hint = "make the model smaller, or name a board with more memory"
        raise RefusedError(f"{error.message} (its arena is {listening.plan.arena_bytes:,} bytes)", hint=hint) from None


def _samples(recording: LongRecording, rate_hz: int) -> Samples:
    try:
        return np.concatenate([np.zeros(0, np.int16), *audio_blocks(recording.path, rate_hz)])
    except InputError as error:
        raise InputError(f"{recording.name}: {error.message}", hint=error.hint) from None


def _listened(
    device: Device, listening: Listening, samples: Samples, name: str, progress: Reporter
) -> list[BoardDecision]:
    """What the board decides on one recording."""
    rate_hz = listening.front_end.clip.sample_rate_hz
    device.load_listening(listening.packed())
    decisions: list[BoardDecision] = []
    done = 0
    for piece in uploads(samples, listening.period_samples):
        decisions += device.listen(piece)
        done += len(piece)
        heard = sum(x.heard >= 0 for x in decisions)
        done_s, all_s = (round(x / rate_hz) for x in (done, len(samples)))
        progress(Progress(f"listening on the board, seconds of {name}", done_s, all_s, f"{heard} heard"))
    return decisions
