"""A published network trained, quantised and verified exactly as what a search finds, to compare with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from hil_nas.baselines import baseline
from hil_nas.config import BaselineConfig
from hil_nas.device.hosts import open_device
from hil_nas.errors import InfeasibleError
from hil_nas.files import require_writable
from hil_nas.folders import Folders
from hil_nas.progress import Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe
from hil_nas.workflows.finish import ChosenNetwork, PageWriter, finish, load_data, with_negatives
from hil_nas.workflows.fitting import fits
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.verify import host_library


def run_baseline(
    config: BaselineConfig,
    folders: Folders,
    *,
    resume: bool,
    page: PageWriter,
    progress: Reporter,
    port: str | None = None,
    flash: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Everything that `hil_nas baseline` does; returns what result.json says, and the run folder.

    Nothing is predicted, since such a network may lie outside the range that the latency model was fitted on.

    Raises:
        InfeasibleError: where the board does not take the network; before it is trained.
    """
    require_writable(folders.runs)
    host = host_library(folders.boards, folders.build)
    data = load_data(config.data, config.words, config.clip, folders.build / "speech", progress)
    data = with_negatives(data, config.negatives, config.seed, progress)
    network, front_end = baseline(config.network, len(data.classes))
    opened = partial(open_device, config.board, boards_dir=folders.boards, build_dir=folders.build, port=port)
    with PatientBoard(opened(flash=flash), opened, progress) as board:
        if not fits(network, board.do(lambda device: device.identify()), front_end):
            raise InfeasibleError(
                f"{config.network} with {len(data.classes)} classes does not fit {config.board}",
                hint="choose a board with more memory",
            )
        earlier = Run.resume(folders.runs, "baseline", config.to_json()) if resume else None
        run = earlier or Run.create(folders.runs, "baseline", config.network, config.to_json())
        run.write_json("network.json", {"front_end": str(front_end), "network": network.to_json()})
        chosen = ChosenNetwork(network, front_end, {})
        recipe = Recipe(epochs=config.train_epochs)
        whole = finish(chosen, config, data, board, host, run, folders, recipe, page=page, progress=progress)
    return whole, run.folder
