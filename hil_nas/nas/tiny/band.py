"""Chains inside the band of the limits: many are drawn at once, priced by the table, and one that fills enough is kept.

No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil_nas.cost.arena import ALIGNMENT_BYTES
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.tiny.cost_table import CostTable, Floats, Indices
from hil_nas.nas.tiny.places import Places
from hil_nas.nas.tiny.space import Choice


@dataclass(frozen=True)
class Chains:
    """Many chains by indices, on any configuration.

    Attributes:
        stem: (chains,) into `TinySpace.stems`.
        widths: (chains, 1 + positions) into its widths, the stem's first.
        operations: (chains, positions) into its operations.
    """

    stem: Indices
    widths: Indices
    operations: Indices

    def choice(self, config: int, index: int) -> Choice:
        steps = zip(self.operations[index].tolist(), self.widths[index, 1:].tolist(), strict=True)
        return Choice(config, (int(self.stem[index]), int(self.widths[index, 0])), tuple(steps))


class Band:
    """What networks a supernet is trained on: those that fill a share of what the limits leave beside a front end.

    Weights that must also suit networks far smaller or far larger than the limit rank those at the limit worse: in the
    `tiny` space Kendall's tau fell from 0.6 to 0.2.

    Args:
        share: of the cycles that a front end leaves to its network: the band's lower end.
        average: (configs,) cycles of the average network on each configuration, without the front end. The lower end
            is never above, so that a loose limit does not ask for cycles that nothing needs.
    """

    def __init__(self, table: CostTable, limits: Limits, share: float, average: Floats) -> None:
        self._table, self._limits, self._share, self._average = table, limits.values(), share, average
        self._places = Places.of(table.space)
        self._keeps = np.array([x.keeps_width for x in table.space.operations])

    def pick(self, config: int, chains: Chains, front_end: Floats | None = None) -> int:
        """The first chain in the band; where none is, the fullest that holds every limit, or else the one that breaks
        them least.

        Args:
            front_end: cycles, RAM and flash of the front end; None: as the table has them.
        """
        if front_end is None:
            tables = (self._table.cycles, self._table.ram, self._table.flash)
            front_end = np.array([x.front_end[config] for x in tables])
        left = np.maximum(np.array(self._limits) - front_end, 1.0)
        costs, there = self.costs(config, chains)
        broken = np.where(there, (costs / left).max(1), np.inf)  # above 1: so many times a limit
        floor = min(self._share * left[0], float(self._average[config]))
        filled = np.flatnonzero((broken <= 1.0) & (costs[:, 0] >= floor))
        if len(filled):
            return int(filled[0])
        if broken.min() > 1.0:
            return int(broken.argmin())
        return int(np.where(broken <= 1.0, costs[:, 0], -1.0).argmax())

    def costs(self, config: int, chains: Chains) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Cycles, RAM and flash of each network without its front end, (chains, 3), and whether the space has it:
        one with a stride or a kernel that does nothing where it stands is another's twin."""
        table, places = self._table, self._places
        tables, group = (table.cycles, table.ram, table.flash, table.state), places.group[config]
        place, width = places.stem[group, chains.stem], chains.widths[:, 0]
        parts = [[np.full(len(place), x.align[config]) for x in tables]]
        parts.append([x.stem[config, chains.stem, width] for x in tables])
        there = places.stem_taken[group, chains.stem]
        for operation, drawn in zip(chains.operations.T, chains.widths.T[1:], strict=True):
            skipped = places.skipped[place, operation]
            after = np.where(self._keeps[operation] | skipped, width, drawn)
            there = there & places.taken[place, operation]
            at = (config, places.scale[place], operation, width, after)
            parts.append([np.where(skipped, 0.0, x.chain[at]) for x in tables])
            place, width = places.after[place, operation], after
        parts.append([x.head[config, places.scale[place], width, places.rows[place]] for x in tables])
        cycles, ram, flash, state = (np.stack(x) for x in zip(*parts, strict=True))
        arena = np.ceil((ram.max(0) + state.sum(0)) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return np.stack([cycles.sum(0), arena, flash.sum(0)], 1), there
