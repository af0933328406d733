"""Runs a model on a board and compares it with the host, bit by bit, and with its limits.

The oracle for the network's bits is TFLM's own kernels on the host; for the front end it is the same C source
built for the host. Accuracy is counted from what the board answered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_nas.audio.checks import Findings
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import load_test_split
from hil_nas.budget import Budget
from hil_nas.deploy.lower import executed, lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_front_end, read_tflite
from hil_nas.device.device import Device
from hil_nas.device.replies import Identity, What
from hil_nas.device.run_counts import RunCounts
from hil_nas.errors import InputError, RefusedError, UnsupportedError
from hil_nas.front_ends import ClipFormat, FrontEnd
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.kernels import LISTS, First, lists_from
from hil_nas.notebook import verification_html
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.units import format_bytes_like, format_seconds_like
from hil_nas.workflows.measure import energy_of, latency_ms
from hil_nas.workflows.memory_lines import flash_lines, ram_lines

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
TIMED_RUNS = 5


@dataclass(frozen=True)
class Verification:
    """What a board did with a model. Cycles are medians of raw counts of the named clock.

    Attributes:
        kernels: the lists whose kernels the plan names, in their order of preference; none with the engine `tflm`.
        clock: kind (silicon, modelled, instructions or host), Hz, and the error in percent of a modelled one.
        compared: what was compared, `features and logits`, `logits`, or `logits of a stream's steps`: of a model that
            keeps state, in one sequence from its beginning.
        clips_compared: or inputs, or steps.
        differing_bytes: values that differ from the host's, over all clips.
        front_end_cycles: None where the model carries no front end.
        stages: (name, cycles) of the front end's, in their order.
        operators: (kind, cycles) in the order they run, as the model's file calls them.
        energy: mj, active_mw and their source, see `energy_of`; None where nobody published the power.
        ram, flash: lines of bytes; the sums are `ram_bytes` and `flash_bytes`.
        missed: one sentence for each limit that does not hold.
        accuracy: of the board's answers, over the labelled clips that were run; None without labels.
    """

    board: str
    clock: dict[str, Any]
    engine: str
    kernels: tuple[str, ...]
    build: str
    front_end: str | None
    compared: str
    clips_compared: int
    differing_bytes: int
    front_end_cycles: int | None
    stages: tuple[tuple[str, int], ...]
    network_cycles: int
    operators: tuple[tuple[str, int], ...]
    latency_ms: float | None
    energy: dict[str, Any] | None
    ram: dict[str, int]
    flash: dict[str, int]
    limits: dict[str, Any]
    missed: tuple[str, ...]
    accuracy: float | None

    @property
    def ram_bytes(self) -> int:
        return sum(self.ram.values())

    @property
    def flash_bytes(self) -> int:
        return sum(self.flash.values())

    @property
    def bits_equal(self) -> bool:
        return self.differing_bytes == 0

    @property
    def ok(self) -> bool:
        return self.bits_equal and not self.missed

    def to_json(self) -> dict[str, Any]:
        derived = ("ram_bytes", "flash_bytes", "bits_equal")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}

    def _repr_html_(self) -> str:
        return verification_html(self.to_json())


@dataclass(frozen=True)
class Model:
    """A .tflite that can be run: read, lowered, and in the oracle.

    Attributes:
        kinds: of the plan's operators, as the file calls them.
        config: None where it carries no front end.
    """

    data: bytes
    plan: Plan
    kinds: tuple[str, ...]
    config: FrontEnd | None
    oracle: Tflm

    @classmethod
    def read(cls, data: bytes, first: First = "dsp") -> Model:
        """Everything that can be known of a model without a board.

        Args:
            first: the list of kernels that is asked first for each of its operators.

        Raises:
            InputError: for bytes that are no model, and for one that cannot be lowered.
        """
        graph = read_tflite(data)
        plan = lower(graph, lists_from(first))  # first: it says in more words than the oracle what does not run
        return cls(data, plan, tuple(x.kind for x in executed(graph)), read_front_end(data), Tflm(data))


class Bench:
    """A model on a board and on the host, side by side.

    One that takes a step of a stream is given its steps' own input, without the front end that it may carry: a clip is
    many steps.

    Args:
        device: an open board.
        host_front_end: the host's build of the front end's C source.

    Raises:
        RefusedError: where the board has no room for the model.
        UnsupportedError: for a model of another type than int8 on a board that runs the .tflite itself.
    """

    def __init__(self, device: Device, model: Model, host_front_end: HostFrontEnd) -> None:
        self.device = device
        self.plan, self.oracle = model.plan, model.oracle
        self.config = None if self.plan.keeps_state else model.config
        self.engine = device.identify().engine
        self._kinds = model.kinds
        self._once: What = "step" if self.plan.keeps_state else "network"
        outputs = "logits of a stream's steps" if self.plan.keeps_state else "logits"
        self.compared = f"features and {outputs}" if self.config else outputs
        self._host = host_front_end
        self._blob = b""
        device.unload("frontend")  # of what a board on a desk did before: it takes room, and counts as the product's
        self._load(model)
        if self.config is not None:
            self._blob = self.config.blob(self.plan.input_scale, self.plan.input_zero_point)
            device.load_front_end(self._blob, where="flash")

    def _load(self, model: Model) -> None:
        ends = {model.oracle.input_end.kind, model.oracle.output_end.kind}
        if self.engine == "tflm" and ends != {"int8"}:
            raise UnsupportedError(
                f"the model takes or gives {' and '.join(sorted(ends))}, the engine tflm int8 alone",
                hint="leave out --engine tflm, or convert with inference_input_type = inference_output_type = tf.int8",
            )
        if self.engine == "tflm" and self.plan.keeps_state:
            raise UnsupportedError(
                "the model keeps state from call to call, which the engine tflm does not run",
                hint="leave out --engine tflm",
            )
        try:
            self.device.load_model({"plans": self.plan.to_bytes(), "tflm": model.data}, where="flash")
        except RefusedError as error:
            plan = self.plan
            needs = f"its plan takes {plan.total_bytes:,} bytes, arena {plan.arena_bytes:,}, input {plan.input_bytes:,}"
            hint = "make the model smaller, or name a board with more memory"
            raise RefusedError(f"{error.message} ({needs})", hint=hint) from None

    @property
    def kernels(self) -> tuple[str, ...]:
        """The lists whose kernels the plan names; none where the board runs the .tflite itself."""
        named = {x.kernel_list for x in self.plan.operators}
        return tuple(x.label for x in LISTS if x.number in named and self.engine != "tflm")

    def operators(self, counts: RunCounts) -> tuple[tuple[str, int], ...]:
        """(kind, cycles) in the order they run; the board knows tables, the file the functions that they stand for."""
        if self.engine == "tflm":
            return counts.operators
        return tuple((kind, x.cycles) for kind, x in zip(self._kinds, counts.operators, strict=True))

    def time(self, clip: Int16 | None) -> RunCounts:
        """Raw counts of warmed-up runs on one clip (or on random input where there is no front end)."""
        if self.config is None or clip is None:
            shape = self.oracle.input_shape
            self.device.set_input(np.random.default_rng(0).integers(-128, 128, shape, dtype=np.int8))
            return self.device.run("network", warmups=1, runs=TIMED_RUNS)
        self.device.set_audio(clip)
        return self.device.run("all", warmups=1, runs=TIMED_RUNS)

    def compare_clips(self, clips: Int16, progress: Reporter) -> tuple[int, Int8]:
        """Differing int8 values over audio clips (n, samples), and the board's answers (n, classes)."""
        features = self._host.features(self._blob, clips)
        logits = self.oracle.run(features.reshape(-1, *self.oracle.input_shape))
        differing, answers = 0, []
        for index, clip in enumerate(clips):
            self.device.set_audio(clip)
            self.device.run("all", warmups=0, runs=1)
            differing += _differing(self.device.read("features"), features[index])
            answers.append(self.device.read("output").reshape(-1))
            differing += _differing(answers[-1], logits[index])
            progress(Progress("comparing bits on the board", index + 1, len(clips), f"{differing} differ"))
        return differing, np.stack(answers)

    def compare_inputs(self, count: int, seed: int, progress: Reporter) -> int:
        """Differing outputs over random inputs, both of the model's own types: the host converts for the board.

        Where the model keeps state these are the first steps of one stream, on both sides.
        """
        ends = self.oracle.input_end, self.oracle.output_end
        inputs = ends[0].random(np.random.default_rng(seed), (count, *self.oracle.input_shape))
        self.oracle.reset()
        logits = self.oracle.run_as_it_is(inputs)
        if self.plan.keeps_state:
            self.device.clear()
        differing = 0
        for index, values in enumerate(ends[0].to_int8(inputs)):
            self.device.set_input(values)
            self.device.run(self._once, warmups=0, runs=1)
            differing += _differing(ends[1].from_int8(self.device.read("output")), logits[index])
            progress(Progress("comparing bits on the board", index + 1, count, f"{differing} differ"))
        return differing


def verify(
    device: Device,
    model: Model,
    host_front_end: HostFrontEnd,
    *,
    budget: Budget,
    clips: Int16 | None = None,
    labels: npt.NDArray[np.int64] | None = None,
    count: int = 100,
    seed: int = 0,
    progress: Reporter = silent,
) -> Verification:
    """Everything that is claimed about a model on a board.

    Args:
        clips: int16 (n, samples); needs a model with a front end. None: seeded noise where the model
            has a front end, random int8 inputs where not.
        labels: (n,) of the clips.
        count: how many random clips or inputs where no clips are given.

    Raises:
        InputError: clips for a model without a front end or for a stream's step, a latency limit on a clock that gives
            no time.
    """
    _check_clock(device, budget)
    device.reset()  # its deepest stack is then this model's own, whatever ran before
    bench = Bench(device, model, host_front_end)
    if bench.plan.keeps_state and clips is not None:
        raise InputError(
            "the model takes one step of a stream, so that clips cannot be run through it", hint="leave out --data"
        )
    if bench.config is None and clips is not None:
        raise InputError("the model names no front end, so audio cannot be run through it")
    if bench.config is not None and clips is None:
        clips = noise(count, seed, bench.config.clip)
    counts = bench.time(None if clips is None else clips[0])
    accuracy = None
    if clips is not None:
        differing, answers = bench.compare_clips(clips, progress)
        if labels is not None:
            accuracy = float(np.mean(answers.argmax(axis=1) == labels))
    else:
        differing = bench.compare_inputs(count, seed, progress)
    return _verification(bench, counts, budget, differing, count if clips is None else len(clips), accuracy)


def drawn_clips(
    folder: Path, words: tuple[str, ...], clip: ClipFormat, count: int, seed: int, progress: Reporter = silent
) -> tuple[Clips, Findings]:
    """Up to `count` clips of a folder's test split, drawn by the seed, and what was found in that split."""
    test, findings = load_test_split(folder, words or None, clip=clip, progress=progress)
    drawn = np.sort(np.random.default_rng(seed).choice(len(test), min(count, len(test)), replace=False))
    return test.take(drawn.astype(np.int64)), findings


def noise(count: int, seed: int, clip: ClipFormat) -> Int16:
    """Seeded clips (count, samples) of noise at many levels, for bits and not for accuracy."""
    rng = np.random.default_rng(seed)
    levels = 10.0 ** rng.uniform(0.0, 4.2, count)
    clips = np.empty((count, clip.samples), np.int16)  # filled one by one: all as numbers take ten times more
    for row, level in zip(clips, levels, strict=True):
        row[:] = np.clip(rng.normal(0.0, level, clip.samples), -32768, 32767)
    return clips


def missed_limits(budget: Budget, latency_ms: float | None, ram_bytes: int, flash_bytes: int) -> tuple[str, ...]:
    """One sentence for each limit that the figures break."""
    missed = []
    for name, value, limit, show in (
        ("latency", None if latency_ms is None else latency_ms / 1e3, budget.max_latency_s, format_seconds_like),
        ("RAM", ram_bytes, budget.max_ram_bytes, format_bytes_like),
        ("flash", flash_bytes, budget.max_flash_bytes, format_bytes_like),
    ):
        if limit is not None and (value is None or value > limit):
            shown = "not known" if value is None else show(value, limit)
            missed.append(f"{name} is {shown}, the limit {show(limit, limit)}")
    return tuple(missed)


def _check_clock(device: Device, budget: Budget) -> None:
    identity = device.identify()
    if budget.max_latency_s is not None and identity.clock_kind not in ("silicon", "modelled"):
        raise InputError(
            f"{name_of(identity)} counts {identity.clock_kind}, so a limit in milliseconds cannot be checked there",
            hint="use @virtual or the board itself, or leave out --max-latency",
        )


def _verification(
    bench: Bench, counts: RunCounts, budget: Budget, differing: int, clips: int, accuracy: float | None
) -> Verification:
    identity, memory = bench.device.identify(), bench.device.memory()
    front_end = counts.front_end_median_cycles if bench.config else None
    network = counts.network_median_cycles
    milliseconds = latency_ms(identity.clock_kind, identity.clock_hz, (front_end or 0) + network)
    missed = missed_limits(budget, milliseconds, memory.ram_bytes, memory.flash_bytes)
    return Verification(
        board=name_of(identity),
        clock=identity.clock,
        engine=identity.engine,
        kernels=bench.kernels,
        build=identity.build,
        front_end=str(bench.config) if bench.config else None,
        compared=bench.compared,
        clips_compared=clips,
        differing_bytes=differing,
        front_end_cycles=front_end,
        stages=counts.stages,
        network_cycles=network,
        operators=bench.operators(counts),
        latency_ms=milliseconds,
        energy=energy_of(identity, milliseconds),
        ram=ram_lines(memory),
        flash=flash_lines(memory),
        limits=asdict(budget),
        missed=missed,
        accuracy=accuracy,
    )


def name_of(identity: Identity) -> str:
    """`BOARD@HOST`, or `BOARD` alone for silicon."""
    return identity.board if identity.host == "serial" else f"{identity.board}@{identity.host}"


def host_library(boards_dir: Path, build_dir: Path) -> HostFrontEnd:
    """The host's build of the front end, made where it is out of date."""
    return HostFrontEnd(build_host_library(boards_dir, build_dir))


def _differing(answers: npt.NDArray[Any], expected: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero(answers.reshape(-1) != expected.reshape(-1)))
