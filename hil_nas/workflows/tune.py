"""Decisions for a finished model: those that miss fewest words at so many false accepts an hour, chosen on one part of
the audio and reported on another."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.decode import Samples, audio_blocks
from hil_nas.audio.embedding import embedded, word_span
from hil_nas.audio.long_audio import LongRecording, long_recordings
from hil_nas.audio.noise import generated_noise
from hil_nas.deploy.decisions import ONE, Decisions, attach_decisions
from hil_nas.errors import InputError
from hil_nas.files import require_writable
from hil_nas.folders import Folders
from hil_nas.listening.choice import AVERAGED, at_rates, choose, curve
from hil_nas.listening.decider import build_decide_library
from hil_nas.listening.host import HostListener
from hil_nas.listening.rates import Rate, hours_for
from hil_nas.listening.trials import Errors, Negatives, Trials, Words
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.runs import Run, read_result
from hil_nas.workflows.finish import load_data
from hil_nas.workflows.finished_run import STREAM, FinishedRun
from hil_nas.workflows.listen import (
    host_listener,
    listening_by,
    period_samples_of,
    refractory_of,
    usual_decisions,
    usual_period_s,
)
from hil_nas.workflows.run_export import verified_figures, write_export

RATES_PER_HOUR = (0.5, 1.0, 5.0)  # at which misses are told beside the one that was asked for
_NOISE_S = 30

PageWriter = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Tuning:
    """What is asked of decisions.

    Attributes:
        false_accepts_per_hour: at most.
        period_s: between answers; None: `usual_period_s` of the run.
        snr_db: of words against noise, and against speech; they are heard in silence too.
        clips: of each keyword, in each part.
    """

    false_accepts_per_hour: float
    period_s: float | None
    snr_db: tuple[float, ...]
    clips: int
    seed: int


@dataclass(frozen=True, eq=False)
class Part:
    """What decisions are chosen on, or what they are reported on; no file and no speaker stands in both."""

    recordings: Sequence[LongRecording]
    clips: Clips
    noise: Sequence[Samples]
    seed: int


def run_tune(
    run_folder: Path,
    negatives: Sequence[Path],
    tuning: Tuning,
    folders: Folders,
    *,
    page: PageWriter,
    progress: Reporter,
) -> tuple[dict[str, Any], Path]:
    """Everything that `hil_nas tune` does; returns what result.json says, and the run folder, which holds the model
    with its decisions and its export.

    Raises:
        InputError: for negatives that cannot be read or divided, or a period that the model does not have.
    """
    require_writable(folders.runs)
    finished = FinishedRun.read(run_folder)
    config = finished.front_end
    period_samples = period_samples_of(config, tuning.period_s or usual_period_s(finished))
    halves = halved(long_recordings(negatives))
    data = _data(finished, folders, progress)
    start = usual_decisions(finished.labels, config, period_samples)
    listening = listening_by(finished, start, progress)
    listener = host_listener(listening, folders.boards, folders.build)
    parts = [
        Part(recordings, _drawn(clips, start, tuning, number), _noise(config.clip.sample_rate_hz, number), number)
        for number, (recordings, clips) in enumerate(zip(halves, (data.validation, data.test), strict=True))
    ]
    library = build_decide_library(folders.boards, folders.build)
    choosing, reporting = (_trials(x, listener, finished, tuning, library, y, progress)
                           for x, y in zip(parts, ("to choose on", "to report on"), strict=True))  # fmt: skip
    allowed = math.floor(tuning.false_accepts_per_hour * choosing.negatives.hours)
    chosen = choose(choosing, start, allowed, min(max(AVERAGED), refractory_of(config, period_samples)))
    points, period_ms = curve(reporting, chosen.decisions), 1e3 * period_samples / config.clip.sample_rate_hz
    result = {
        "model": str(finished.folder / "model.tflite"),
        "front_end": str(config),
        "labels": list(finished.labels),
        "period_ms": period_ms,
        "way": listening.way,
        "decisions": chosen.decisions.to_json(),
        "false_accepts_per_hour": tuning.false_accepts_per_hour,
        "allowed": allowed,
        "hours_to_show": hours_for(tuning.false_accepts_per_hour),
        "chosen": _errors(chosen, parts[0], period_ms),
        "reported": _errors(reporting.errors(chosen.decisions), parts[1], period_ms),
        "at_rates": _at_rates(points, tuning.false_accepts_per_hour),
        "curve": [_point(x) for x in points],
    }  # fmt: skip
    for warning in _warnings(result):
        progress(Progress("tuning", 0, 0, warning, lasting=True))
    settings = {"run": str(finished.folder), "negatives": [str(x) for x in negatives], **vars(tuning), **finished.data}
    run = Run.create(folders.runs, "tune", finished.name, settings)
    model = attach_decisions(finished.model, chosen.decisions)
    run.write_bytes("model.tflite", model)
    if listening.stream and finished.stream is not None:
        run.write_bytes(STREAM, finished.stream)
    tuned = listening_by(replace(finished, model=model), chosen.decisions, silent)
    figures = verified_figures(read_result(finished.folder), Run(finished.folder).revision)
    write_export(run, tuned, folders, figures)
    run.write_bytes("report.html", page(result).encode())
    return run.finish("complete", result), run.folder


def halved(recordings: Sequence[LongRecording]) -> tuple[list[LongRecording], list[LongRecording]]:
    """Recordings in two parts about equally many, every speaker in one of them; the same on every machine.

    Raises:
        InputError: where one speaker or file is all there is.
    """
    by_speaker: dict[str, list[LongRecording]] = defaultdict(list)
    for recording in recordings:
        by_speaker[recording.speaker].append(recording)
    if len(by_speaker) < 2:
        raise InputError(
            f"the negatives are of {len(by_speaker)} speaker or file, expected two: one to choose on, one to report on",
            hint="cut one long recording into several files",
        )
    parts: tuple[list[LongRecording], list[LongRecording]] = ([], [])
    digests = {x: hashlib.sha256(b"halved:" + x.encode()).digest() for x in by_speaker}
    for speaker in sorted(by_speaker, key=lambda x: (-len(by_speaker[x]), digests[x])):
        min(parts, key=len).extend(by_speaker[speaker])
    return parts


def _data(finished: FinishedRun, folders: Folders, progress: Reporter) -> KeywordData:
    chosen, clip = finished.data, finished.front_end.clip
    words, silence = tuple(chosen["words"]), chosen["silence"]
    try:
        data = load_data(chosen["data"], words, clip, folders.build / "speech", progress, silence=silence)
    except InputError:
        if chosen["data"] is None or Path(chosen["data"]).is_dir():
            raise
        raise InputError(
            f"{finished.folder} learned from {chosen['data']}, no folder here; misses are counted on its clips",
            hint="run this where those recordings are; Speech Commands: `hil_nas data fetch`",
        ) from None
    if data.classes != finished.labels:
        now, then = ", ".join(data.classes), ", ".join(finished.labels)
        raise InputError(f"the data has the classes {now}, the model {then}", hint="restore the data it was trained on")
    return data


def _drawn(clips: Clips, decisions: Decisions, tuning: Tuning, number: int) -> Clips:
    """Up to so many clips of each keyword."""
    rng = np.random.default_rng([tuning.seed, number])
    members = [np.flatnonzero(clips.labels == i) for i in decisions.keywords]
    drawn = [np.sort(rng.permutation(x)[: tuning.clips]) for x in members]
    return clips.take(np.concatenate(drawn).astype(np.int64))


def _noise(sample_rate_hz: int, number: int) -> list[Samples]:
    """Noise of five sorts that no training heard."""
    return generated_noise(np.random.default_rng([7, number]), sample_rate_hz, _NOISE_S)


def _trials(
    part: Part, listener: HostListener, finished: FinishedRun, tuning: Tuning, library: Path, purpose: str,
    progress: Reporter,
) -> Trials:  # fmt: skip
    rate_hz = finished.front_end.clip.sample_rate_hz
    heard, speech = [], []
    for number, recording in enumerate(part.recordings, start=1):
        try:
            audio = np.concatenate(list(audio_blocks(recording.path, rate_hz)))
        except InputError as error:
            raise InputError(f"{recording.name}: {error.message}", hint=error.hint) from None
        listener.restart()
        heard.append(listener.push(audio).answers)
        speech.append(audio)
        progress(Progress(f"negatives {purpose}", number, len(part.recordings)))
    hours = sum(len(x) for x in heard) * listener.listening.period_samples / rate_hz / 3600
    if not hours:
        raise InputError("the negatives are shorter than a clip", hint="name longer recordings")
    beds: dict[str, tuple[Sequence[Samples], float]] = {"silence": ((), 0.0)}
    for snr_db in tuning.snr_db:
        beds |= {f"noise, {snr_db:g} dB": (part.noise, snr_db), f"speech, {snr_db:g} dB": (speech, snr_db)}
    words = {}
    for condition, (bed, snr_db) in beds.items():
        words[condition] = _words(part, bed, snr_db, listener, rate_hz, tuning)
        progress(Progress(f"words {purpose}", len(words), len(beds), f"in {condition}"))
    return Trials(Negatives(heard, hours), words, listener.listening.output, library)


def _words(
    part: Part, bed: Sequence[Samples], snr_db: float, listener: HostListener, sample_rate_hz: int, tuning: Tuning
) -> Words:
    """Each clip behind a clip's length of the bed and before another, at any moment between two answers."""
    rng = np.random.default_rng([tuning.seed, part.seed])
    clips, length = part.clips.samples, part.clips.samples.shape[1]
    period_samples, first_samples = listener.listening.period_samples, listener.listening.first_samples
    starts = length + rng.integers(period_samples, size=len(clips))
    streams = embedded(clips, bed, snr_db, starts, 3 * length + period_samples, rng)
    answers = []
    for stream in streams:
        listener.restart()
        answers.append(listener.push(stream).answers)
    ends = starts + np.array([word_span(x, sample_rate_hz)[1] for x in clips])
    return Words(np.stack(answers), part.clips.labels, (ends - first_samples) / period_samples)


def _errors(errors: Errors, part: Part, period_ms: float) -> dict[str, Any]:
    """What decisions did wrong on a part, and how much there was of it."""
    decisions = errors.decisions
    return {
        "recordings": len(part.recordings),
        "speakers": len({x.speaker for x in part.recordings}),
        "words": int(errors.words.sum()),
        "false_accepts": errors.rate.to_json(),
        "misses": {x: errors.miss_share(x) for x in errors.misses},
        "delay_ms": None if math.isnan(errors.delay) else errors.delay * period_ms,
        "keywords": [
            {
                "word": decisions.labels[i],
                "threshold": decisions.thresholds[i] / ONE,
                "false_accepts": Rate(int(errors.false_accepts[i]), errors.hours).to_json(),
                "misses": _share(errors.class_miss_share(i)),
                "words": int(errors.words[i]),
            }
            for i in decisions.keywords
        ],
    }


def _point(errors: Errors) -> dict[str, Any]:
    return {
        "threshold": max(errors.decisions.thresholds) / ONE,
        "false_accepts": errors.rate.count,
        "false_accepts_per_hour": errors.rate.per_hour,
        "misses": {x: errors.miss_share(x) for x in errors.misses},
        "keywords": [
            {
                "word": errors.decisions.labels[i],
                "false_accepts": int(errors.false_accepts[i]),
                "misses": _share(errors.class_miss_share(i)),
            }
            for i in errors.decisions.keywords
        ],
    }


def _share(value: float) -> float | None:
    return None if math.isnan(value) else value


def _at_rates(points: Sequence[Errors], asked_per_hour: float) -> list[dict[str, Any]]:
    """The curve at the usual rates and the one that was asked for."""
    rates = sorted({*RATES_PER_HOUR, asked_per_hour})
    found = at_rates(points, rates)
    points_of = zip(rates, found, strict=True)
    return [{"false_accepts_per_hour_asked": x, **({} if y is None else _point(y))} for x, y in points_of]


def _warnings(result: dict[str, Any]) -> list[str]:
    asked, needed = result["false_accepts_per_hour"], result["hours_to_show"]
    hours = result["reported"]["false_accepts"]["hours"]
    if hours >= needed:
        return []
    shown = f"{hours:.2f} h of negatives to report on cannot show {asked:g} false accepts an hour"
    return [f"{shown}, which takes {needed:.1f} h without any"]
