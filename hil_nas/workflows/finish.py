"""From a network to a finished product: trained, quantised, verified on the board, exported, all in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData, load_speech_commands
from hil_nas.audio.long_audio import long_recordings
from hil_nas.audio.negatives import for_stream
from hil_nas.audio.speech import spoken_keywords
from hil_nas.budget import Budget
from hil_nas.cost.macs import network_macs, parameters
from hil_nas.deploy.lower import lower
from hil_nas.deploy.stream import step_tflite
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.folders import Folders
from hil_nas.front_ends import ClipFormat, FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.runs import Run
from hil_nas.training.product import Product, make_product
from hil_nas.training.recipe import Recipe
from hil_nas.words import TEN_WORDS
from hil_nas.workflows.finish_stream import stream_listening, verify_stream
from hil_nas.workflows.finished_run import STREAM, FinishedRun
from hil_nas.workflows.listen import listening_of
from hil_nas.workflows.measure import latency_ms
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.run_export import Figures, verified_figures, write_export
from hil_nas.workflows.verify import Model, Verification, verify
from hil_nas.workflows.worst_clips import NAME as WORST_CLIPS
from hil_nas.workflows.worst_clips import worst_clips


@dataclass(frozen=True)
class ChosenNetwork:
    """A network, what the latency model predicts for it, and what its search says of itself; empty where none did."""

    network: Network
    config: FrontEnd
    predicted: dict[str, Any]
    search: dict[str, Any] = field(default_factory=dict)


PageWriter = Callable[[Path, dict[str, Any]], str]  # of a run folder and what its result.json will say


class FinishSettings(Protocol):
    """The fields of a configuration that `finish` needs."""

    @property
    def budget(self) -> Budget: ...
    @property
    def period_samples(self) -> int | None: ...
    @property
    def clips(self) -> int: ...
    @property
    def seed(self) -> int: ...


def finish(
    chosen: ChosenNetwork,
    settings: FinishSettings,
    data: KeywordData,
    board: PatientBoard,
    host: HostFrontEnd,
    run: Run,
    folders: Folders,
    recipe: Recipe,
    *,
    page: PageWriter,
    progress: Reporter,
) -> dict[str, Any]:
    """Trains, quantises and verifies a network and leaves everything in the run folder; what result.json says.

    Its status is "missed" where the finished network broke a limit or a bit on the board.
    """
    product = make_product(
        chosen.network, chosen.config, data, host, run, recipe, seed=settings.seed, progress=progress
    )
    run.write_bytes("model.tflite", product.model)
    if (period_samples := settings.period_samples) is None:
        verification, listens, ran = _verified(product, settings, data, board, host, progress), {}, product.model
    else:
        ran = step_tflite(product.model, period_samples // chosen.config.hop_samples)
        run.write_bytes(STREAM, ran)
        listening = stream_listening(product.model, ran, chosen.config, data.classes, period_samples)
        test = _test_clips(settings, data)
        budget = settings.budget.of_decision(period_samples / data.clip.sample_rate_hz)
        verification, figures = board.do(lambda device: verify_stream(
            device, listening, ran, test.samples, budget=budget, folders=folders, progress=progress
        ))  # fmt: skip
        listens = {"listen": figures}
    result = {**_result(chosen, product, verification, data), **listens}
    _export(run, data.classes, folders, verified_figures(result, run.revision), progress)
    run.write_bytes("plan.bin", lower(read_tflite(ran)).to_bytes())
    worst = worst_clips(product.test_answers, data.test, read_tflite(product.model), chosen.config, host)
    run.write_bytes(WORST_CLIPS, worst.to_bytes())
    run.write_bytes("report.html", page(run.folder, result).encode())
    return run.finish("complete" if verification.ok else "missed", result)


def load_data(
    folder: str | None,
    words: tuple[str, ...],
    clip: ClipFormat,
    cache: Path,
    progress: Reporter,
    *,
    silence: bool = True,
) -> KeywordData:
    """Recorded words from a folder, or words spoken by espeak-ng; without words the usual ten, or all of a folder."""
    if folder is None:
        return spoken_keywords(words or TEN_WORDS, cache, clip=clip, progress=progress)
    return load_speech_commands(Path(folder), words or None, silence=silence, clip=clip, progress=progress)


def with_negatives(data: KeywordData, folders: Sequence[str], seed: int, progress: Reporter) -> KeywordData:
    """Data for a product that listens to a stream, where recordings without keywords are named; else as they are."""
    return for_stream(data, long_recordings([Path(x) for x in folders]), seed, progress) if folders else data


def _export(
    run: Run, labels: tuple[str, ...], folders: Folders, figures: Figures | None, progress: Reporter
) -> None:  # fmt: skip
    """The finished model by usual decisions; a tuning makes better ones. What cannot listen is not exported, and no run
    fails of it.
    """
    try:
        listening = listening_of(FinishedRun.of_model(run.path("model.tflite"), labels), None, silent)
    except InputError as error:
        progress(Progress("export", 0, 0, f"no export, since the model cannot listen: {error.message}", lasting=True))
    else:
        write_export(run, listening, folders, figures)


def _verified(
    product: Product,
    settings: FinishSettings,
    data: KeywordData,
    board: PatientBoard,
    host: HostFrontEnd,
    progress: Reporter,
) -> Verification:
    """The finished model on the board, over clips of the test split."""
    test = _test_clips(settings, data)
    model = Model.read(product.model)
    return board.do(lambda device: verify(
        device, model, host, budget=settings.budget, clips=test.samples, labels=test.labels, progress=progress
    ))  # fmt: skip


def _test_clips(settings: FinishSettings, data: KeywordData) -> Clips:
    """Some of the test split, chosen by the seed."""
    rng = np.random.default_rng(settings.seed)
    count = min(settings.clips, len(data.test))
    return data.test.take(np.sort(rng.choice(len(data.test), count, replace=False)).astype(np.int64))


def _result(chosen: ChosenNetwork, product: Product, verification: Verification, data: KeywordData) -> dict[str, Any]:
    """What result.json says."""
    kind, hz = verification.clock["kind"], verification.clock["hz"]
    front_end, network = verification.front_end_cycles or 0, verification.network_cycles
    limits = verification.limits
    seconds = limits["max_latency_s"]
    return {
        "board": verification.board,
        "clock": verification.clock,
        "engine": verification.engine,
        "build": verification.build,
        "front_end": str(chosen.config),
        "limits": {
            "max_ram_bytes": limits["max_ram_bytes"],
            "max_flash_bytes": limits["max_flash_bytes"],
            "max_latency_ms": None if seconds is None else seconds * 1e3,
            "max_load": limits["max_load"],
        },
        "measured": {
            "latency_ms": verification.latency_ms,
            "front_end_ms": latency_ms(kind, hz, front_end),
            "network_ms": latency_ms(kind, hz, network),
            "front_end_cycles": front_end,
            "network_cycles": network,
            "ram_bytes": verification.ram_bytes,
            "flash_bytes": verification.flash_bytes,
        },
        "energy": verification.energy,
        "predicted": chosen.predicted,
        **chosen.search,
        "limits_held": not verification.missed,
        "limits_missed": verification.missed,
        "bits_equal": verification.bits_equal,
        "differing_bytes": verification.differing_bytes,
        "clips_compared": verification.clips_compared,
        "accuracy_int8": product.int8_test.accuracy,
        "accuracy_float": product.float_test.accuracy,
        "validation_accuracy_int8": product.int8_validation.accuracy,
        "test_clips": product.int8_test.clips,
        "labels": data.classes,
        "data": {"name": data.name, **data.findings.to_json()},
        "confusion": product.int8_test.confusion.tolist(),
        "macs": network_macs(chosen.network),
        "parameters": parameters(chosen.network),
        "front_end_cycles": front_end,
        "stages": verification.stages,
        "operators": verification.operators,
        "ram": verification.ram,
        "flash": verification.flash,
    }
