"""A finished run's model as a library of C, in `export/` of its folder."""

from __future__ import annotations

import shutil
from typing import Any

from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.listening import Listening
from hil_nas.device.firmware import find_third_party
from hil_nas.folders import Folders
from hil_nas.runs import Run

Figures = dict[str, str | int]


def write_export(run: Run, listening: Listening, folders: Folders, figures: Figures | None = None) -> None:
    """`export/`: the model as a library of C that builds with one command.

    Args:
        figures: of `verified_figures`; None where the model was not verified.
    """
    if run.path("export").exists():  # left by an interrupted run
        shutil.rmtree(run.path("export"))
    export_c(run.path("export"), listening, folders.boards, find_third_party(), figures)


def verified_figures(result: dict[str, Any], revision: str | None) -> Figures | None:
    """What an export says of the model that a search or baseline has verified, by the names of its constants; None for
    the result of another command.

    Args:
        result: what result.json says.
        revision: of this program, as environment.json says it.
    """
    if "measured" not in result:
        return None
    measured = result["measured"]
    figures: Figures = {
        "BOARD": result["board"],
        "CLOCK": result["clock"]["kind"],
        "CLOCK_HZ": result["clock"]["hz"],
        "FRONT_END_CYCLES": measured["front_end_cycles"],
        "NETWORK_CYCLES": measured["network_cycles"],
        "RAM_BYTES": measured["ram_bytes"],
        "FLASH_BYTES": measured["flash_bytes"],
        "ACCURACY_PERCENT": f"{100 * result['accuracy_int8']:.2f}",
        "TEST_CLIPS": result["test_clips"],
    }
    return figures | ({} if revision is None else {"REVISION": revision})
