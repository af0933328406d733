"""Audio of any length through a model as the device would hear it: what was heard, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.audio.decode import audio_blocks
from hil_nas.audio.layout import SILENCE, UNKNOWN
from hil_nas.audio.long_audio import LongRecording, long_recordings, wav_file
from hil_nas.audio.microphone import microphone_blocks
from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.deploy.host_engine import build_engine_library
from hil_nas.deploy.listening import Listening, sliding_windows, step_frames, stream_steps
from hil_nas.device.firmware import find_third_party
from hil_nas.errors import InputError
from hil_nas.files import require_writable, write_atomically
from hil_nas.folders import Folders
from hil_nas.front_ends import FrontEnd
from hil_nas.listening.host import HostListener
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.workflows.finished_run import STREAM, FinishedRun

Samples = NDArray[np.int16]
USUAL_PERIOD_S = 0.1
_USUAL_AVERAGED_S, _USUAL_SHARPNESS, _USUAL_THRESHOLD = 0.6, 2, 0.8  # until a tuning says better


@dataclass(frozen=True)
class Heard:
    """A word that was heard.

    Attributes:
        time_s: where in the recording the answer's window ends.
        posterior: the average that reached the threshold, 0 to 1.
    """

    time_s: float
    word: str
    posterior: float


@dataclass(frozen=True, eq=False)
class Hearing:
    """A recording that was listened to.

    Attributes:
        seconds: of audio.
        times_s: of each answer (n,).
        averages: of posteriors behind each, 32768 for 1 (n, classes).
    """

    name: str
    seconds: float
    heard: tuple[Heard, ...]
    times_s: NDArray[np.float64]
    averages: NDArray[np.uint16]


OnHeard = Callable[[Heard, Samples], None]
PageWriter = Callable[[dict[str, Any], Decisions, Sequence[Hearing]], str]


class Listener:
    """What listens, by the device's own C on the host.

    Raises:
        InputError: for decisions that do not fit the model.
    """

    def __init__(self, listening: Listening, folders: Folders) -> None:
        self.listening, self.clip = listening, listening.front_end.clip
        self._host = host_listener(listening, folders.boards, folders.build)

    def listen(self, name: str, blocks: Iterable[Samples], on_heard: OnHeard) -> Hearing:
        """A recording or a microphone from its beginning to its end.

        Args:
            on_heard: called with each word and the clip (samples,) in which it was heard.
        """
        self._host.restart()
        recent, samples, rate_hz = np.zeros(0, np.int16), 0, self.clip.sample_rate_hz
        labels, heard = self.listening.decisions.labels, []
        ends, averages = [np.zeros(0, np.int64)], [np.zeros((0, len(labels)), np.uint16)]
        for block in blocks:
            recent, samples = np.concatenate([recent, block]), samples + len(block)
            decided = self._host.push(block)
            for i in np.flatnonzero(decided.heard >= 0):
                word, end = int(decided.heard[i]), int(decided.ends[i])
                heard.append(Heard(end / rate_hz, labels[word], float(decided.averages[i, word]) / ONE))
                behind = len(recent) - (samples - end)
                on_heard(heard[-1], recent[max(0, behind - self.clip.samples) : behind])
            recent = recent[-self.clip.samples - self.listening.period_samples :]
            ends.append(decided.ends)
            averages.append(decided.averages)
        return Hearing(name, samples / rate_hz, tuple(heard), np.concatenate(ends) / rate_hz, np.concatenate(averages))


def host_listener(listening: Listening, boards_dir: Path, build_dir: Path) -> HostListener:
    """By a library that is built where it is out of date."""
    return HostListener(build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir), listening)


def run_listen(
    run_folder: Path,
    audio: Sequence[Path],
    period_s: float | None,
    folders: Folders,
    *,
    keep: Path | None,
    stop: Callable[[], bool],
    page: PageWriter,
    progress: Reporter,
) -> tuple[dict[str, Any], Path]:
    """Everything that `hil_nas listen` does; returns what result.json says, and the run folder.

    Args:
        audio: recordings and folders of them; none: the microphone.
        period_s: of answers; None: as `listening_of` says.
        stop: whether the microphone has been listened to for long enough.
        keep: a folder for the clips in which words were heard, a WAV file each.

    Raises:
        InputError: for audio that cannot be read, or a period that the model does not have.
    """
    require_writable(folders.runs)
    finished = FinishedRun.read(run_folder)
    recordings = long_recordings(audio)
    listening = listening_of(finished, period_s, progress)
    decisions, rate_hz = listening.decisions, finished.front_end.clip.sample_rate_hz
    listener = Listener(listening, folders)
    if recordings:
        hearings = _hearings(listener, recordings, keep, progress)
    else:
        hearings = [_microphone(listener, stop, keep, progress)]
    config = {"run": str(finished.folder), "audio": [str(x) for x in audio], "period_s": period_s}
    run = Run.create(folders.runs, "listen", finished.name, config)
    result = {
        "model": str(finished.folder / "model.tflite"),
        "front_end": str(finished.front_end),
        "tuned": finished.decisions is not None,
        "way": listening.way,
        "period_ms": 1e3 * decisions.period_samples / rate_hz,
        "decisions": decisions.to_json(),
        "hours": sum(x.seconds for x in hearings) / 3600,
        "recordings": [
            {"name": x.name, "seconds": x.seconds, "heard": [asdict(y) for y in x.heard]} for x in hearings
        ],
    }  # fmt: skip
    run.write_bytes("report.html", page(result, decisions, hearings).encode())
    return run.finish("complete", result), run.folder


def listening_of(finished: FinishedRun, period_s: float | None, progress: Reporter) -> Listening:
    """What a run's model listens by: the decisions that it was tuned to, else usual ones, which is said.

    Args:
        period_s: of answers; None: as the model was tuned, else `usual_period_s`.

    Raises:
        InputError: where the model was tuned to another period, and as `listening_by`.
    """
    config, rate_hz, tuned = finished.front_end, finished.front_end.clip.sample_rate_hz, finished.decisions
    if tuned is None:
        note = "thresholds are usual ones: `hil_nas tune` finds those for so many false accepts an hour"
        progress(Progress("listening", 0, 0, note, lasting=True))
        period_samples = period_samples_of(config, period_s or usual_period_s(finished))
        return listening_by(finished, usual_decisions(finished.labels, config, period_samples), progress)
    if period_s is not None and period_samples_of(config, period_s) != tuned.period_samples:
        tuned_ms = 1e3 * tuned.period_samples / rate_hz
        raise InputError(
            f"the model was tuned to a period of {tuned_ms:g} ms, not {1e3 * period_s:g} ms",
            hint="leave out --listen, or tune it anew with it",
        )
    return listening_by(finished, tuned, progress)


def listening_by(finished: FinishedRun, decisions: Decisions, progress: Reporter) -> Listening:
    """A run's model with these decisions: as a stream where the run has a step of their period, else in sliding
    windows; which of both is said.

    Raises:
        InputError: as `sliding_windows` and `stream_steps`.
    """
    listening, rate_hz = sliding_windows(finished.model, decisions), finished.front_end.clip.sample_rate_hz
    step_samples = _step_samples(finished)
    if finished.stream is not None and step_samples == decisions.period_samples:
        listening = stream_steps(finished.stream, listening)
    note = f"{listening.way}, an answer every {1e3 * listening.period_samples / rate_hz:g} ms"
    if step_samples is not None and not listening.stream:
        note += f"; a step of its {STREAM} is {1e3 * step_samples / rate_hz:g} ms"
    progress(Progress("listening", 0, 0, note, lasting=True))
    return listening


def usual_period_s(finished: FinishedRun) -> float:
    """Of the step of a run's stream, where it has one; else some 100 ms, at least a hop and at most a window."""
    config, step_samples = finished.front_end, _step_samples(finished)
    rate_hz, hop = config.clip.sample_rate_hz, config.hop_samples
    hops = min(max(1, int(USUAL_PERIOD_S * rate_hz) // hop), config.frames)
    return (hops * hop if step_samples is None else step_samples) / rate_hz


def _step_samples(finished: FinishedRun) -> int | None:
    config = finished.front_end
    return None if finished.stream is None else step_frames(finished.stream, config) * config.hop_samples


def period_samples_of(config: FrontEnd, period_s: float) -> int:
    """The most of a front end's hops that a period holds, in samples.

    Raises:
        InputError: for a period below a hop or above a clip.
    """
    rate_hz, hop = config.clip.sample_rate_hz, config.hop_samples
    hops = int(period_s * rate_hz + 1e-6) // hop
    if not 1 <= hops <= config.frames:
        raise InputError(
            f"a period of {1e3 * period_s:g} ms is no time between answers of {config}, whose hop is "
            f"{1e3 * hop / rate_hz:g} ms and whose clip is {1e3 * config.clip.samples / rate_hz:g} ms",
            hint="name one between them",
        )
    return hops * hop


def usual_decisions(labels: Sequence[str], config: FrontEnd, period_samples: int) -> Decisions:
    """What suits many models: each word is heard once while it is in the window."""
    threshold = round(_USUAL_THRESHOLD * ONE)
    return Decisions(
        tuple(labels),
        tuple(0 if x in (SILENCE, UNKNOWN) else threshold for x in labels),
        period_samples,
        averaged=max(1, round(_USUAL_AVERAGED_S * config.clip.sample_rate_hz / period_samples)),
        refractory=refractory_of(config, period_samples),
        sharpness=_USUAL_SHARPNESS,
    )


def refractory_of(config: FrontEnd, period_samples: int) -> int:
    """Answers for which a word that was heard may still be in the window."""
    return -(-config.clip.samples // period_samples)


def _hearings(
    listener: Listener, recordings: Sequence[LongRecording], keep: Path | None, progress: Reporter
) -> list[Hearing]:
    hearings = []
    for number, recording in enumerate(recordings, start=1):
        blocks = audio_blocks(recording.path, listener.clip.sample_rate_hz)
        try:
            hearings.append(listener.listen(recording.name, blocks, _keeper(keep, recording.name, listener)))
        except InputError as error:
            raise InputError(f"{recording.name}: {error.message}", hint=error.hint) from None
        words = ", ".join(f"{x.word} at {x.time_s:.1f} s" for x in hearings[-1].heard)
        progress(Progress("listening", number, len(recordings), f"{recording.name}: {words or 'nothing'}"))
    return hearings


def _microphone(listener: Listener, stop: Callable[[], bool], keep: Path | None, progress: Reporter) -> Hearing:
    kept = _keeper(keep, "microphone", listener)

    def say(heard: Heard, clip: Samples) -> None:
        progress(Progress("heard", 0, 0, f"{heard.word} at {heard.time_s:.1f} s ({heard.posterior:.0%})", lasting=True))
        kept(heard, clip)

    blocks = microphone_blocks(listener.clip.sample_rate_hz, listener.listening.period_samples)
    progress(Progress("listening", 0, 0, "to the microphone, until Ctrl-C", lasting=True))
    return listener.listen("microphone", takewhile(lambda _: not stop(), blocks), say)


def _keeper(folder: Path | None, name: str, listener: Listener) -> OnHeard:
    """Writes what was heard in a recording of this name, if to a folder."""

    def keep(heard: Heard, clip: Samples) -> None:
        if folder is not None:
            file = f"{name.replace('/', '_')}-{heard.time_s:.2f}s-{heard.word}.wav"
            write_atomically(folder / file, wav_file(clip, listener.clip.sample_rate_hz))

    return keep
