"""A model's file on a board by its name: read, opened, verified, closed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hil_nas.audio.checks import Findings
from hil_nas.budget import Budget
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.device.hosts import open_device
from hil_nas.errors import InputError, RefusedError, naming
from hil_nas.front_ends import ONE_SECOND
from hil_nas.kernels import First
from hil_nas.progress import Reporter, silent
from hil_nas.workflows.verify import Model, Verification, drawn_clips, host_library, verify


def verify_file(
    path: Path,
    board: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    budget: Budget,
    data: Path | None = None,
    words: Sequence[str] = (),
    clips: int = 100,
    seed: int = 0,
    engine: Engine = USUAL_ENGINE,
    kernels: First = "dsp",
    port: str | None = None,
    flash: bool = False,
    progress: Reporter = silent,
) -> tuple[Verification, Findings | None]:
    """Everything that is claimed about a .tflite on a board, and what was found in the recordings it heard.

    Args:
        board: BOARD or BOARD@HOST.
        data: a folder of recordings, whose test clips are heard; None: seeded noise.
        clips: how many inputs.
        engine, port, flash: as `open_device` takes them.
        kernels: the list that is asked first for each operator.

    Raises:
        InputError: for a file that is no model, one that cannot be lowered, or what `verify` and the data refuse.
        DeviceError, BuildError, MissingToolError: as they come.
    """
    with naming(path, InputError):
        model = Model.read(read_model(path), kernels)
    heard = labels = findings = None
    if data is not None:
        clip = model.config.clip if model.config else ONE_SECOND
        drawn, findings = drawn_clips(data, tuple(words), clip, clips, seed, progress)
        heard, labels = drawn.samples, drawn.labels
    host = host_library(boards_dir, build_dir)
    with open_device(
        board, boards_dir=boards_dir, build_dir=build_dir, port=port, flash=flash, engine=engine
    ) as device, naming(path, RefusedError):  # fmt: skip
        verification = verify(
            device, model, host, budget=budget, clips=heard, labels=labels, count=clips, seed=seed, progress=progress
        )
    return verification, findings


def read_model(path: Path) -> bytes:
    """The file's bytes; of a run's folder, those of its model.

    Raises:
        InputError: for a file that cannot be read; the message is the reason alone.
    """
    try:
        return (path / "model.tflite" if path.is_dir() else path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", hint="name a .tflite, or the folder of a run") from None
