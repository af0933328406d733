"""Several models on several boards: each is verified on each, and what goes wrong with one is kept from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hil_nas.budget import Budget
from hil_nas.device.boards import load_board
from hil_nas.device.hosts import open_device
from hil_nas.errors import HilNasError
from hil_nas.files import plain_name
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.target import BoardTarget
from hil_nas.workflows.side_by_side import side_by_side
from hil_nas.workflows.verify import Model, Verification, host_library, verify
from hil_nas.workflows.verify_file import read_model


@dataclass(frozen=True)
class Compared:
    """What one board did with one model, or the error that kept it from that."""

    model: Path
    board: str
    outcome: Verification | HilNasError


def compare(
    models: Sequence[Path],
    boards: Sequence[str],
    *,
    boards_dir: Path,
    build_dir: Path,
    clips: int,
    seed: int = 0,
    port: str | None = None,
    flash: bool = False,
    progress: Reporter = silent,
) -> list[Compared]:
    """Verifies every model on every board, the boards at the same time.

    Args:
        models: .tflite files, each once.
        boards: BOARD or BOARD@HOST, each once.
        clips: how many inputs each model is compared over, of seeded noise as `verify` draws it.
        port, flash: of a board on a serial port; it is flashed before its first model.

    Returns:
        One for each model and board: by board, then by model, in the order given.

    Raises:
        InputError: for a board that is not known; nothing has run then.
    """
    for board in boards:
        load_board(BoardTarget.parse(board).board, boards_dir)

    def one(board: str, model: Path, progress: Reporter) -> Verification | HilNasError:
        def of_model(step: Progress) -> None:
            progress(replace(step, task=f"{plain_name(model)}: {step.task}"))

        try:
            with open_device(
                board, boards_dir=boards_dir, build_dir=build_dir, port=port, flash=flash and model == models[0]
            ) as device:  # for each model: one that ends an emulator ends no other
                read, host = Model.read(read_model(model)), host_library(boards_dir, build_dir)
                return verify(device, read, host, budget=Budget(), count=clips, seed=seed, progress=of_model)
        except HilNasError as error:
            return error

    def all_models(board: str, progress: Reporter) -> list[Compared]:
        return [Compared(x, board, one(board, x, progress)) for x in models]

    compared: list[Compared] = []
    for board, found in side_by_side({x: partial(all_models, x) for x in boards}, progress).items():
        compared += [Compared(x, board, found) for x in models] if isinstance(found, HilNasError) else found
    return compared


def kind_counts(verification: Verification) -> dict[str, int]:
    """Counts of the board's clock by kind of operator: all operators of a kind together, in order of occurrence."""
    counts: Counter[str] = Counter()
    for kind, count in verification.operators:
        counts[kind] += count
    return dict(counts)
