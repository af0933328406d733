"""The commands as functions, for scripts and notebooks: they run the same workflows and give typed results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil_nas.budget import Budget
from hil_nas.config import SearchConfig
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.extras import require
from hil_nas.folders import Folders, usual_folders
from hil_nas.kernels import First
from hil_nas.notebook import html_table
from hil_nas.progress import Reporter, silent
from hil_nas.tracking import Tracking, tracked
from hil_nas.units import clock_name, format_bytes, format_latency

if TYPE_CHECKING:
    from hil_nas.audio.data_check import DataCheck
    from hil_nas.workflows.verify import Verification

USUAL_BOARD = "nucleo-l4r5@virtual"


@dataclass(frozen=True)
class Finished:
    """What a command left.

    Attributes:
        run: its folder.
        result: what its result.json says.
    """

    run: Path
    result: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.run / "report.html"


@dataclass(frozen=True)
class FinishedSearch(Finished):
    """A network that was found, trained, quantised and verified on the board."""

    @property
    def ok(self) -> bool:
        """Whether every limit and every bit held on the board."""
        return bool(self.result["limits_held"] and self.result["bits_equal"])

    @property
    def model(self) -> Path:
        """The .tflite, int8, its front end in its metadata."""
        return self.run / "model.tflite"

    @property
    def export(self) -> Path:
        """The folder with the model as C."""
        return self.run / "export"

    @property
    def front_end(self) -> str:
        return str(self.result["front_end"])

    @property
    def accuracy_int8(self) -> float:
        """On the test split, 0 to 1."""
        return float(self.result["accuracy_int8"])

    @property
    def latency_ms(self) -> float | None:
        """Front end and network, one clip, by the clock that `result["clock"]` names; None where it gives no time."""
        latency: float | None = self.result["measured"]["latency_ms"]
        return latency

    @property
    def ram_bytes(self) -> int:
        """All of the product, as the board accounts for it."""
        return int(self.result["measured"]["ram_bytes"])

    @property
    def flash_bytes(self) -> int:
        """All of the product, as the board accounts for it."""
        return int(self.result["measured"]["flash_bytes"])

    def _repr_html_(self) -> str:
        error_percent = self.result["clock"]["error_percent"]
        latency = "–" if self.latency_ms is None else format_latency(self.latency_ms, error_percent)
        rows = [
            ("front end", self.front_end),
            ("latency", latency),
            ("RAM", format_bytes(self.ram_bytes)),
            ("flash", format_bytes(self.flash_bytes)),
            ("accuracy int8", f"{self.accuracy_int8:.2%} of {self.result['test_clips']} clips"),
            ("bits", "equal" if self.result["bits_equal"] else "NOT equal"),
            *(("limit missed", x) for x in self.result["limits_missed"]),
            ("report", self.report),
        ]
        return html_table(f"{self.result['board']} ({clock_name(self.result['clock'])})", rows)


@dataclass(frozen=True)
class FinishedProfile(Finished):
    """A latency model that was measured and fitted."""

    @property
    def folder(self) -> Path:
        """Of the model, as later searches for this board find it."""
        return Path(self.result["folder"])

    @property
    def mean_error_percent(self) -> float:
        """Of predictions of networks that were held out."""
        return float(self.result["network_mean_error_percent"])

    def _repr_html_(self) -> str:
        rows = [
            ("networks", self.result["networks"]),
            ("operators", self.result["operators"]),
            ("front ends", self.result["front_ends"]),
            ("networks, mean error", f"{self.mean_error_percent:.2f} %"),
            ("report", self.report),
        ]
        return html_table(f"{self.folder} ({clock_name(self.result['clock'])})", rows)


@dataclass(frozen=True)
class HeardWord:
    """A word that was heard.

    Attributes:
        recording: its name; `microphone` for that.
        time_s: where in it the answer's window ends.
        posterior: the average that reached the threshold, 0 to 1.
    """

    recording: str
    time_s: float
    word: str
    posterior: float


@dataclass(frozen=True)
class FinishedListening(Finished):
    """What was heard in recordings, or at the microphone."""

    @property
    def heard(self) -> tuple[HeardWord, ...]:
        """Every word, in the order of recordings and of time."""
        return tuple(
            HeardWord(recording["name"], x["time_s"], x["word"], x["posterior"])
            for recording in self.result["recordings"] for x in recording["heard"]
        )  # fmt: skip

    @property
    def hours(self) -> float:
        """Of audio."""
        return float(self.result["hours"])

    def _repr_html_(self) -> str:
        rows = [(x.recording, f"{x.time_s:.2f} s", x.word, f"{x.posterior:.2f}") for x in self.heard]
        title = f"{len(rows)} heard in {self.hours:.3f} h of audio"
        return html_table(title, rows, ("recording", "at", "heard", "posterior"))


def search(
    config: SearchConfig,
    *,
    name: str = "kws",
    resume: bool = False,
    tensorboard: str | Path | None = None,
    mlflow: str | None = None,
    folders: Folders | None = None,
    port: str | None = None,
    flash: bool = False,
    progress: Reporter = silent,
) -> FinishedSearch:
    """`hil_nas search`: finds a network and its front end, trains, quantises and verifies it on the board.

    Args:
        config: what to recognise, within which limits, on which board, and how to search.
        name: ends the run folder's name.
        resume: goes on with the newest unfinished run of this configuration.
        tensorboard: a folder for event files; mlflow: the URI of a server or database: they get the run's figures.
        folders: of boards, builds, latency models and runs; None: the usual ones.
        port, flash: of a board on a serial port, and whether the firmware is put on it first.
        progress: called with each step; `print` will do.

    Returns:
        The result also where a limit or a bit did not hold on the board: `ok` says so.

    Raises:
        MissingToolError: where torch, TensorFlow, MLflow, a compiler or espeak-ng is needed and not installed.
        InfeasibleError: where no network of the space holds the limits; before anything was trained.
        InputError: for recordings that a search refuses, a tracker out of reach, or without a latency model of the
            board.
        DeviceError, BuildError, OutputError, RunError, DivergedError: as they come.
    """
    require("a search", ["search"])
    from hil_nas.report.page import search_page
    from hil_nas.workflows.search import run_search

    where = folders or usual_folders()
    with tracked(Tracking(None if tensorboard is None else Path(tensorboard), mlflow), where.runs, progress):
        result, run = run_search(
            config, where, name=name, resume=resume, page=search_page, progress=progress, port=port, flash=flash
        )  # fmt: skip
    return FinishedSearch(run, result)


def profile(
    board: str = USUAL_BOARD,
    *,
    networks: int = 160,
    seed: int = 0,
    engine: Engine = USUAL_ENGINE,
    folders: Folders | None = None,
    port: str | None = None,
    flash: bool = False,
    progress: Reporter = silent,
) -> FinishedProfile:
    """`hil_nas profile`: measures networks and front ends on a board and fits its latency model.

    Args:
        board: BOARD or BOARD@HOST.
        networks: how many the model is to rest on; those that its folder holds are not measured again.
        seed: of the networks that are drawn.
        engine: what runs networks on the board.
        folders, port, flash, progress: as `search` takes them.

    Raises:
        InputError: for an unknown board, more networks than are drawn, or a folder of another board's measurements.
        DeviceError, BuildError, MissingToolError, OutputError: as they come; what was measured by then is kept.
    """
    from hil_nas.report.profile_page import profile_page
    from hil_nas.workflows.profile import run_profile

    where = folders or usual_folders()
    result, run = run_profile(
        board, runs_dir=where.runs, page=profile_page, networks=networks, seed=seed, boards_dir=where.boards,
        build_dir=where.build, models_dir=where.models, shipped_dir=where.shipped_models, progress=progress, port=port,
        flash=flash, engine=engine,
    )  # fmt: skip
    return FinishedProfile(run, result)


def verify(
    model: str | Path,
    board: str = USUAL_BOARD,
    *,
    budget: Budget | None = None,
    data: str | Path | None = None,
    words: Sequence[str] = (),
    clips: int = 100,
    seed: int = 0,
    engine: Engine = USUAL_ENGINE,
    kernels: First = "dsp",
    folders: Folders | None = None,
    port: str | None = None,
    flash: bool = False,
    progress: Reporter = silent,
) -> Verification:
    """`hil_nas verify`: a .tflite on a board, bit by bit against the host, with its cycles, RAM and flash.

    Args:
        model: any that is quantised to int8.
        board: BOARD or BOARD@HOST.
        budget: limits; None: no other than the board's.
        data: a folder of recordings whose test clips are heard, from audio to logits; None: seeded noise.
        words: keywords in it.
        clips: how many inputs are compared.
        engine: what runs networks on the board; kernels: whose are asked first.
        folders, port, flash, progress: as `search` takes them.

    Returns:
        What the board did, also where a limit or a bit did not hold: `ok` says so.

    Raises:
        InputError: for a file that is no model, one that cannot be lowered, or recordings that are refused.
        DeviceError, BuildError, MissingToolError: as they come.
    """
    from hil_nas.workflows.verify_file import verify_file

    where = folders or usual_folders()
    verification, _ = verify_file(
        Path(model), board, boards_dir=where.boards, build_dir=where.build, budget=budget or Budget(),
        data=None if data is None else Path(data), words=words, clips=clips, seed=seed, engine=engine, kernels=kernels,
        port=port, flash=flash, progress=progress,
    )  # fmt: skip
    return verification


def listen(
    run: str | Path | Finished,
    audio: Sequence[str | Path] = (),
    *,
    period_s: float | None = None,
    keep: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    folders: Folders | None = None,
    progress: Reporter = silent,
) -> FinishedListening:
    """`hil_nas listen`: what a finished run's model hears in recordings of any length, and when.

    Args:
        run: a search's, baseline's or tuning's folder, or a search's result.
        audio: recordings, or folders of them; none: the microphone, until `stop`.
        period_s: between decisions; None: as the model was tuned, else some 100 ms.
        keep: a folder for the clips in which words were heard.
        stop: asked before each block of the microphone's whether that is enough.
        folders, progress: as `search` takes them.

    Raises:
        RunError: for a folder that is no finished run.
        InputError: for audio that cannot be read, a period that the model does not have, or without a microphone.
        BuildError, MissingToolError, OutputError: as they come.
    """
    from hil_nas.report.listen_page import listen_page
    from hil_nas.workflows.listen import run_listen

    folder = run.run if isinstance(run, Finished) else Path(run)
    result, own = run_listen(
        folder, [Path(x) for x in audio], period_s, folders or usual_folders(),
        keep=None if keep is None else Path(keep), stop=stop, page=listen_page, progress=progress,
    )  # fmt: skip
    return FinishedListening(own, result)


def check_data(folder: str | Path, words: Sequence[str] = (), *, progress: Reporter = silent) -> DataCheck:
    """`hil_nas data check`: what a search would find in a folder of recordings, file by file.

    Args:
        folder: of recordings, as a search's `data` takes it.
        words: the keywords; none: the ten of Speech Commands where the folder has them, else all its words.
        progress: as `search` takes it.

    Returns:
        What was found, also where a search would refuse the folder: `ok` and `problems` say so.

    Raises:
        InputError: for a missing folder, one without recordings, or a list or table that is not what it must be.
    """
    from hil_nas.audio import data_check

    return data_check.check_data(Path(folder), words or None, progress=progress)
