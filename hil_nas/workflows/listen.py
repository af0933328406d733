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
from hil_nas.device.firmware import find_third_party
from hil_nas.errors import InputError
from hil_nas.files import require_writable, write_atomically
from hil_nas.folders import Folders
from hil_nas.front_ends import ClipFormat, FrontEnd
from hil_nas.listening.answers import SlidingWindows
from hil_nas.listening.decider import Decider, build_decide_library
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.workflows.finished_run import FinishedRun
from hil_nas.workflows.verify import host_library

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
    """A model with its decisions, by the device's own C on the host.

    Raises:
        InputError: for decisions that do not fit the model.
    """

    def __init__(self, model: bytes, decisions: Decisions, clip: ClipFormat, folders: Folders) -> None:
        self.decisions, self.clip = decisions, clip
        self.answers = sliding_windows(model, decisions.period_samples, folders)
        self._decider = Decider(build_decide_library(folders.boards, folders.build), decisions, self.answers.output)

    def listen(self, name: str, blocks: Iterable[Samples], on_heard: OnHeard) -> Hearing:
        """A recording or a microphone from its beginning to its end.

        Args:
            on_heard: called with each word and the clip (samples,) in which it was heard.
        """
        self.answers.restart()
        self._decider.restart()
        recent, samples, done = np.zeros(0, np.int16), 0, 0
        heard, averages = [], [np.zeros((0, len(self.decisions.labels)), np.uint16)]
        for block in blocks:
            recent, samples = np.concatenate([recent, block]), samples + len(block)
            classes, average = self._decider.next(self.answers.next(block))
            for i in np.flatnonzero(classes >= 0):
                word, end = int(classes[i]), self._end(done + int(i))
                posterior = float(average[i, word]) / ONE
                heard.append(Heard(end / self.clip.sample_rate_hz, self.decisions.labels[word], posterior))
                behind = len(recent) - (samples - end)
                on_heard(heard[-1], recent[max(0, behind - self.clip.samples) : behind])
            recent = recent[-self.clip.samples - self.decisions.period_samples :]
            averages.append(average)
            done += len(classes)
        rate_hz = self.clip.sample_rate_hz
        times_s = np.array([self._end(i) / rate_hz for i in range(done)])
        return Hearing(name, samples / rate_hz, tuple(heard), times_s, np.concatenate(averages))

    def _end(self, answer: int) -> int:
        """Where an answer's window ends, in samples."""
        return self.answers.first_samples + answer * self.answers.period_samples


def sliding_windows(model: bytes, period_samples: int, folders: Folders) -> SlidingWindows:
    """The answers of a model, by libraries that are built where they are out of date."""
    engine = build_engine_library(folders.boards, find_third_party().cmsis_nn, folders.build)
    return SlidingWindows(model, period_samples, host_library(folders.boards, folders.build), engine)


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
        period_s: of answers; None: as the model was tuned, else some 100 ms.
        stop: whether the microphone has been listened to for long enough.
        keep: a folder for the clips in which words were heard, a WAV file each.

    Raises:
        InputError: for audio that cannot be read, or a period that the model does not have.
    """
    require_writable(folders.runs)
    finished = FinishedRun.read(run_folder)
    decisions = decisions_of(finished, period_s, progress)
    recordings = long_recordings(audio)
    rate_hz = finished.front_end.clip.sample_rate_hz
    listener = Listener(finished.model, decisions, finished.front_end.clip, folders)
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
        "period_ms": 1e3 * decisions.period_samples / rate_hz,
        "decisions": decisions.to_json(),
        "hours": sum(x.seconds for x in hearings) / 3600,
        "recordings": [
            {"name": x.name, "seconds": x.seconds, "heard": [asdict(y) for y in x.heard]} for x in hearings
        ],
    }  # fmt: skip
    run.write_bytes("report.html", page(result, decisions, hearings).encode())
    return run.finish("complete", result), run.folder


def decisions_of(finished: FinishedRun, period_s: float | None, progress: Reporter) -> Decisions:
    """Those that a run's model was tuned to; else usual ones, which is said.

    Raises:
        InputError: where the model was tuned to another period.
    """
    config = finished.front_end
    if finished.decisions is None:
        note = "thresholds are usual ones: `hil_nas tune` finds those for so many false accepts an hour"
        progress(Progress("listening", 0, 0, note, lasting=True))
        return usual_decisions(finished.labels, config, period_samples_of(config, period_s or USUAL_PERIOD_S))
    tuned = finished.decisions
    if period_s is not None and period_samples_of(config, period_s) != tuned.period_samples:
        tuned_ms = 1e3 * tuned.period_samples / config.clip.sample_rate_hz
        raise InputError(
            f"the model was tuned to a period of {tuned_ms:g} ms, not {1e3 * period_s:g} ms",
            hint="leave out --listen, or tune it anew with it",
        )
    return tuned


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

    blocks = microphone_blocks(listener.clip.sample_rate_hz, listener.decisions.period_samples)
    progress(Progress("listening", 0, 0, "to the microphone, until Ctrl-C", lasting=True))
    return listener.listen("microphone", takewhile(lambda _: not stop(), blocks), say)


def _keeper(folder: Path | None, name: str, listener: Listener) -> OnHeard:
    """Writes what was heard in a recording of this name, if to a folder."""

    def keep(heard: Heard, clip: Samples) -> None:
        if folder is not None:
            file = f"{name.replace('/', '_')}-{heard.time_s:.2f}s-{heard.word}.wav"
            write_atomically(folder / file, wav_file(clip, listener.clip.sample_rate_hz))

    return keep
