"""What a page of a search or baseline is made of, read from its run folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil_nas.deploy.plan import Plan
from hil_nas.errors import InputError, RunError
from hil_nas.network import Network
from hil_nas.runs import Run, read_json
from hil_nas.streaming import step_network
from hil_nas.workflows.worst_clips import NAME as WORST_CLIPS
from hil_nas.workflows.worst_clips import WorstClips

Lines = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class SearchRun:
    """
    Attributes:
        result: what result.json says.
        history: the lines of metrics.jsonl, each with its `phase`.
        environment: environment.json; empty where there is none.
        plan: that the board ran, None where it was not kept.
        worst: None where no clips were kept.
    """

    result: dict[str, Any]
    network: Network
    history: Lines = ()
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    worst: WorstClips | None = None

    @classmethod
    def read(cls, folder: Path, result: dict[str, Any]) -> SearchRun:
        """
        Raises:
            RunError: where a file of the folder is missing or damaged.
        """
        config, environment = read_json(folder / "config.json"), read_json(folder / "environment.json")
        path, plan, worst = folder / "network.json", folder / "plan.bin", folder / WORST_CLIPS
        try:
            network = Network.from_json(read_json(path)["network"])
            if "listen" in result:  # the board ran its steps
                network = step_network(network, result["listen"]["frames"])
        except (KeyError, InputError) as error:
            raise RunError(f"{path} is damaged: {error}", hint="remove that run folder") from None
        return cls(
            result, network, Run(folder).metrics(), config, environment,
            _plan(plan) if plan.is_file() else None, WorstClips.read(worst) if worst.is_file() else None,
        )  # fmt: skip

    def phase(self, name: str) -> Lines:
        """The lines of one phase."""
        return [x for x in self.history if x.get("phase") == name]

    @property
    def command(self) -> str | None:
        """As it was typed; None for a point of a sweep, whose command was the sweep's."""
        words = self.environment.get("argv") or []
        if not words or words[0] != self.config.get("command"):
            return None
        return f"hil_nas {shlex.join(words)}"


def _plan(path: Path) -> Plan:
    try:
        return Plan.from_bytes(path.read_bytes())
    except InputError as error:
        hint = "remove that file; the report is then made without the arena"
        raise RunError(f"{path} is damaged: {error}", hint=hint) from None
