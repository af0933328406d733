"""What a finished search, baseline or tuning left in its run folder, as later commands need it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_nas.deploy.decisions import Decisions, read_decisions
from hil_nas.deploy.front_end_metadata import read_front_end
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError, RunError
from hil_nas.front_ends import FrontEnd
from hil_nas.runs import read_result

STREAM = "stream.tflite"
_DATA = ("data", "words", "silence")
_TIME = re.compile(r"^\d{8}T\d{6}Z-(?=.)")


@dataclass(frozen=True)
class FinishedRun:
    """A trained model and where it came from.

    Attributes:
        model: the .tflite.
        stream: the .tflite of its step of a stream; None where it has none.
        labels: of its outputs, in their order.
        decisions: that it was tuned to; None where it was not.
        data: how its data set was chosen: `data`, `words`, `silence`.
    """

    folder: Path
    model: bytes
    stream: bytes | None
    labels: tuple[str, ...]
    front_end: FrontEnd
    decisions: Decisions | None
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the run, without its time."""
        return _TIME.sub("", self.folder.resolve().name)

    @classmethod
    def read(cls, folder: Path) -> FinishedRun:
        """
        Raises:
            RunError: for a folder that is none of a finished search, baseline or tuning.
            InputError: for a model that cannot be read.
        """
        labels = read_result(folder).get("labels")
        try:
            model = (folder / "model.tflite").read_bytes()
            stream = (folder / STREAM).read_bytes() if (folder / STREAM).exists() else None
            config = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{folder} is no run of a search: {error}", hint="name the folder of one") from None
        if labels is None or "data" not in config:
            raise RunError(f"{folder} is no run of a search", hint="name the folder of a search, baseline or tuning")
        front_end = read_front_end(model)
        if front_end is None:
            raise InputError(f"{folder / 'model.tflite'} names no front end, so it cannot listen")
        chosen = {x: config[x] for x in _DATA if x in config}
        data = {"silence": config.get("preset") != "paper", **chosen}
        return cls(folder, model, stream, tuple(labels), front_end, read_decisions(model), data)

    @classmethod
    def of_model(cls, path: Path, labels: tuple[str, ...] = ()) -> FinishedRun:
        """A model without its run, with the step of its stream where that lies beside it.

        Args:
            labels: of its classes; none: as its decisions call them, else numbers.

        Raises:
            InputError: for a model that cannot be read, or that names no front end.
        """
        try:
            model, step = path.read_bytes(), path.with_name(STREAM)
            stream = step.read_bytes() if step.exists() and step != path else None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}", hint="name a .tflite or a run") from None
        front_end, decisions, graph = read_front_end(model), read_decisions(model), read_tflite(model)
        if front_end is None:
            raise InputError(f"{path} names no front end, so it cannot listen")
        numbers = tuple(map(str, range(graph.tensors[graph.output].elements)))
        named = labels or (decisions.labels if decisions else numbers)
        return cls(path.parent, model, stream, named, front_end, decisions, {})
