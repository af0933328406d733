"""The zoo: networks that searches of this project found, shipped with the program and given as run folders.

zoo/
    index.json       of each entry the SHA-256 of its files, and of what it answers to clips that any machine can make
    clip-12.95ms/    of a run folder what cannot be made again: `KEPT`

What a network's run folder holds beside that is made when it is given: the plan, the step of a stream, the export, the
page. `tests/gather_zoo.py` writes the zoo from run folders, and takes no run whose plan made again is another.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_nas.deploy.lower import lower
from hil_nas.deploy.stream import step_tflite
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.files import whole_folder
from hil_nas.folders import Folders
from hil_nas.progress import silent
from hil_nas.runs import Run
from hil_nas.values import none_of
from hil_nas.workflows.finished_run import STREAM, FinishedRun
from hil_nas.workflows.listen import listening_of
from hil_nas.workflows.past_runs import PastRun
from hil_nas.workflows.run_export import verified_figures, write_export

INDEX, SCHEMA, VERSION = "index.json", "hil_nas.zoo", 1
KEPT = ("config.json", "environment.json", "metrics.jsonl", "model.tflite", "network.json", "result.json")

PageWriter = Callable[[Path, dict[str, Any]], str]  # of a run folder and what its result.json says


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo.

    Attributes:
        files: that are kept of its run folder, by name.
        result: what its result.json says.
        environment: what its environment.json says.
        figures: as `hil_nas runs` shows them.
    """

    name: str
    files: Mapping[str, bytes]
    result: dict[str, Any]
    environment: dict[str, Any]
    figures: dict[str, Any]

    @property
    def measured_by(self) -> tuple[str, str]:
        """Board and clock: only counts of the same compare."""
        return self.result["board"], self.result["clock"]["kind"]

    @property
    def count(self) -> int:
        """Front end and network, of the clock that the result names."""
        measured = self.result["measured"]
        return int(measured["front_end_cycles"] + measured["network_cycles"])

    @property
    def period_ms(self) -> float | None:
        """From one decision of a stream to the next; None where clips are recognised one by one."""
        period_ms: float | None = self.result.get("listen", {}).get("period_ms")
        return period_ms

    @property
    def command(self) -> str:
        """By which it was found."""
        return shlex.join(["hil_nas", *self.environment["argv"]])

    def to_json(self) -> dict[str, Any]:
        result, environment = self.result, self.environment
        return {
            "name": self.name, "board": result["board"], "labels": result["labels"], "period_ms": self.period_ms,
            "load": result.get("listen", {}).get("load"), **self.figures, "limits": result["limits"],
            "command": self.command, "revision": environment["git"], "started": environment["started"],
        }  # fmt: skip


def zoo_networks(folder: Path) -> list[ZooNetwork]:
    """All of the zoo: those of a board together, clips before streams, the cheapest first.

    Raises:
        AssertionError: where a file is not the one that was shipped.
    """
    index = json.loads((folder / INDEX).read_bytes())
    assert (index["schema"], index["version"]) == (SCHEMA, VERSION), f"{folder / INDEX} is of another version"
    networks = [_read(folder / name, x["files"]) for name, x in index["networks"].items()]
    return sorted(networks, key=lambda x: (*x.measured_by, x.period_ms or 0.0, x.count))


def zoo_network(name: str, folder: Path) -> ZooNetwork:
    """
    Raises:
        InputError: where the zoo has none of this name.
    """
    networks = {x.name: x for x in zoo_networks(folder)}
    if name not in networks:
        raise InputError(f"no network of the zoo: {none_of(name, networks)}", hint="`hil_nas zoo` shows them")
    return networks[name]


def give(network: ZooNetwork, target: Path, folders: Folders, *, page: PageWriter) -> None:
    """Writes a network of the zoo as the run folder of the search that found it, whole or not at all.

    It has no checkpoints and no clips, and its configuration names its recordings without a place. Plan, export and
    page are made by this version of the program; what was measured is the search's.

    Raises:
        InputError: where the folder is taken.
        OutputError: where it cannot be written.
    """
    if target.is_symlink() or target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty", hint="name a folder that does not exist")
    with whole_folder(target) as whole:
        whole.mkdir()
        for name, data in {**network.files, **made_again(network.files["model.tflite"], network.result)}.items():
            (whole / name).write_bytes(data)
        run = Run(whole)
        figures = verified_figures(network.result, run.revision)
        write_export(run, listening_of(FinishedRun.read(whole), None, silent), folders, figures)
        run.write_bytes("report.html", page(whole, network.result).encode())


def made_again(model: bytes, result: dict[str, Any]) -> dict[str, bytes]:
    """Of what a run folder holds beside `KEPT`, what the board ran.

    Args:
        model: the .tflite of whole clips.
        result: what result.json says.
    """
    step = {STREAM: step_tflite(model, result["listen"]["frames"])} if "listen" in result else {}
    return {**step, "plan.bin": lower(read_tflite(step.get(STREAM, model))).to_bytes()}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(folder: Path, digests: dict[str, str]) -> ZooNetwork:
    files = {x: (folder / x).read_bytes() for x in digests}
    for name, data in files.items():
        assert digest(data) == digests[name], f"{folder / name} is not the file that was shipped"
    result, environment = (json.loads(files[x]) for x in ("result.json", "environment.json"))
    return ZooNetwork(folder.name, files, result, environment, PastRun.read(folder).figures)
