"""One supernet for several limits: their loops take turns on its weights.

Weights that must also suit networks far smaller or far larger than a limit rank those at the limit worse (`tiny.band`).
The bands of several limits reach from the lower end of the tightest one's to the loosest limit, but no step draws
from the whole of that: a step of the weights draws one of the limits, each as often as the others, and then a network
in that limit's band, by the alpha and gamma of that limit, since the best front end and the best shapes differ between
limits. Steps of the decisions go to the limits in turn. An epoch has as many steps as one of a single limit: the
supernet costs what one costs, each limit gets its part of the steps, and gains what the others teach the weights that
they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hil_nas.nas.search_loop import Epochs, Loop


class SharedLoop(Epochs):
    """The loops of some limits between two epochs. One loop alone goes as it would by itself, bit by bit.

    Args:
        loops: on the same weights, with one optimizer and one order of clips.
        generator: theirs.
    """

    def __init__(self, loops: Sequence[Loop], generator: torch.Generator) -> None:
        self.loops, self.generator = tuple(loops), generator

    @property
    def ended(self) -> bool:
        return all(x.ended for x in self.loops)

    def advance(self) -> None:
        first = self.loops[0]
        rounds, every = first.front_end.rounds, first.settings.decide_every
        turns = -(-rounds // every) * (first.epoch - first.settings.warmup_epochs)  # of the decisions, so far
        for index in range(rounds):
            now = first.epoch + index / rounds
            if first.searching and index % every == 0:
                self.loops[turns % len(self.loops)].decide(now)
                turns += 1
            self.loops[self._drawn()].learn(now)
        for x in self.loops:
            x.end_epoch()

    def _drawn(self) -> int:
        count = len(self.loops)
        return int(torch.randint(count, (), generator=self.generator)) if count > 1 else 0

    def last_epoch(self) -> list[dict[str, Any]]:
        """Of every loop."""
        return [x.last_epoch() for x in self.loops]

    def state_dict(self) -> dict[str, Any]:
        return {"loops": [x.state_dict() for x in self.loops]}  # what they share is written once

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for x, own in zip(self.loops, state["loops"], strict=True):
            x.load_state_dict(own)
