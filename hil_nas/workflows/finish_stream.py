"""A finished stream on the board: what `finish` verifies where decisions are made on a stream, not on clips."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.budget import Budget
from hil_nas.deploy.listening import Listening, sliding_windows, stream_steps
from hil_nas.deploy.lower import executed
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.device import Device
from hil_nas.folders import Folders
from hil_nas.front_ends import FrontEnd
from hil_nas.progress import Reporter
from hil_nas.workflows.listen import host_listener, usual_decisions
from hil_nas.workflows.measure import energy_of, latency_ms
from hil_nas.workflows.verify import TIMED_RUNS, Verification, name_of
from hil_nas.workflows.verify_listen import ListenVerification, verify_heard


def stream_listening(
    model: bytes, step: bytes, config: FrontEnd, labels: tuple[str, ...], period_samples: int
) -> Listening:
    """A model and its step that decide by usual thresholds, which change neither bits nor cycles.

    Args:
        model, step: the .tflite of windows, with its front end, and of one step.
    """
    return stream_steps(step, sliding_windows(model, usual_decisions(labels, config, period_samples)))


def verify_stream(
    device: Device,
    listening: Listening,
    step: bytes,
    samples: NDArray[np.int16],
    *,
    budget: Budget,
    folders: Folders,
    progress: Reporter,
) -> tuple[Verification, dict[str, Any]]:
    """A stream's every decision on the board against the host's, and what the dearest of them took.

    Args:
        step: the .tflite of one step.
        samples: int16 (clips, samples), one stream behind each other.
        budget: for one decision.

    Returns:
        The verification, whose front end is all of a decision beside the network; and for result.json what a decision
        takes and how often there is one.
    """
    host = host_listener(listening, folders.boards, folders.build)
    clips = len(samples)
    heard = verify_heard(
        device, listening, host, [("test clips", lambda: samples.reshape(-1))], budget=budget, tuned=False,
        progress=progress,
    )  # fmt: skip
    device.set_input(np.zeros(listening.plan.input_bytes, np.int8))  # its cycles by operator, whatever it hears
    counts, identity = device.run("network", warmups=1, runs=TIMED_RUNS), device.identify()
    network, worst = counts.network_median_cycles, heard.worst_cycles
    assert worst is not None and heard.median_cycles is not None, "a stream of clips has more than one decision"
    kinds = [x.kind for x in executed(read_tflite(step))]
    milliseconds = latency_ms(identity.clock_kind, identity.clock_hz, worst)
    verification = Verification(
        board=name_of(identity),
        clock=identity.clock,
        engine=identity.engine,
        kernels=(),
        build=identity.build,
        front_end=str(listening.front_end),
        compared="answers and decisions",
        clips_compared=clips,
        differing_bytes=heard.differing_decisions,
        front_end_cycles=worst - network,
        stages=(("new frames, and the decision", worst - network),),
        network_cycles=network,
        operators=tuple((kind, x.cycles) for kind, x in zip(kinds, counts.operators, strict=True)),
        latency_ms=milliseconds,
        energy=energy_of(identity, milliseconds),
        ram=heard.ram,
        flash=heard.flash,
        limits=heard.limits,
        missed=heard.missed,
        accuracy=None,
    )
    return verification, _figures(listening, heard, heard.median_cycles, worst)


def _figures(listening: Listening, heard: ListenVerification, median: int, worst: int) -> dict[str, Any]:
    return {
        "period_ms": heard.period_ms,
        "frames": listening.step,
        "decisions": heard.decisions,
        "differing_decisions": heard.differing_decisions,
        "cycles_per_decision": worst,
        "median_cycles_per_decision": median,
        "load": heard.worst_load,
        "median_load": heard.median_load,
    }
