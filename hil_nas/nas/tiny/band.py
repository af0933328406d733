"""Chains inside the band of the limits: many are drawn at once, priced by the table, and one that fills enough is kept,
the rather the more parameters it has. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hil_nas.cost.arena import ALIGNMENT_BYTES
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.tiny.cost_table import ChoiceCosts, CostTable, Floats, Indices
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

    @classmethod
    def of(cls, choices: Sequence[Choice]) -> Chains:
        operations, widths = ([[step[i] for step in x.chain] for x in choices] for i in (0, 1))
        stems = np.array([x.stem for x in choices])
        return cls(stems[:, 0], np.column_stack([stems[:, 1], np.array(widths)]), np.array(operations))

    def at(self, indices: Indices) -> Chains:
        """Some of them."""
        return Chains(self.stem[indices], self.widths[indices], self.operations[indices])

    def choice(self, config: int, index: int) -> Choice:
        steps = zip(self.operations[index].tolist(), self.widths[index, 1:].tolist(), strict=True)
        return Choice(config, (int(self.stem[index]), int(self.widths[index, 0])), tuple(steps))


class Band:
    """What networks a supernet is trained on: those that fill a share of what the limits leave beside a front end.

    Weights that must also suit networks far smaller or far larger than the limit rank those at the limit worse: in the
    `tiny` space Kendall's tau fell from 0.6 to 0.2. Networks with many parameters are rare there and the best of all
    when trained alone; a supernet that hardly ever met them put them last.

    Args:
        share: of the cycles that a front end leaves to its network: the band's lower end.
        average: (configs,) cycles of the average network on each configuration, without the front end. The lower end
            is never above, so that a loose limit does not ask for cycles that nothing needs; None: it may be.
        parameter: what each is worth, as a log-probability: a network of the band is drawn the likelier.
    """

    def __init__(
        self, table: CostTable, limits: Limits, share: float, average: Floats | None = None, parameter: float = 0.0
    ) -> None:
        self._table, self._limits, self._share = table, limits.values(), share
        self._average = np.full(len(table.space.configs), np.inf) if average is None else average
        self._parameter, self._places = parameter, Places.of(table.space)
        self._keeps = np.array([x.keeps_width for x in table.space.operations])
        self._weighted = np.array([int(not x.keeps_width) for x in table.space.operations])

    def pick(
        self, config: int, chains: Chains, chance: float, front_end: Floats | None = None, *, depths: bool = False
    ) -> int:
        """One of the chains in the band, by its parameters; where none is, the fullest that holds every limit, or else
        the one that breaks them least.

        Args:
            chance: from 0 to below 1, which of those in the band.
            depths: every depth that is there is as likely as any other.
            front_end: cycles, RAM and flash of the front end; None: as the table has them.
        """
        cycles, broken, filled = self._priced(config, chains, front_end)
        if len(filled):
            worth = self._parameter * self.parameters(config, chains)[filled]
            shares = np.exp(worth - worth.max())
            if depths:
                depth = self._weighted[chains.operations[filled]].sum(1)
                shares /= np.bincount(depth, shares)[depth]
            shares = np.cumsum(shares)
            return int(filled[np.searchsorted(shares / shares[-1], chance, side="right")])
        if broken.min() > 1.0:
            return int(broken.argmin())
        return int(np.where(broken <= 1.0, cycles, -1.0).argmax())

    def inside(self, config: int, chains: Chains, front_end: Floats | None = None) -> tuple[Indices, Floats]:
        """Which of the chains lie in the band, and the cycles of each of the chains (chains,)."""
        cycles, _, filled = self._priced(config, chains, front_end)
        return filled, cycles

    def _priced(self, config: int, chains: Chains, front_end: Floats | None) -> tuple[Floats, Floats, Indices]:
        """Cycles of each, by how much each breaks a limit (above 1: so many times), and which lie in the band."""
        if front_end is None:
            tables = (self._table.cycles, self._table.ram, self._table.flash)
            front_end = np.array([x.front_end[config] for x in tables])
        left = np.maximum(np.array(self._limits) - front_end, 1.0)
        costs, there = self.costs(config, chains)
        broken = np.where(there, (costs / left).max(1), np.inf)
        floor = min(self._share * left[0], float(self._average[config]))
        return costs[:, 0], broken, np.flatnonzero((broken <= 1.0) & (costs[:, 0] >= floor))

    def costs(self, config: int, chains: Chains) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Cycles, RAM and flash of each network without its front end, (chains, 3), and whether the space has it:
        one with a stride or a kernel that does nothing where it stands is another's twin."""
        table = self._table
        tables = (table.cycles, table.ram, table.flash, table.state)
        (cycles, ram, flash, state), there = self._along(tables, config, chains)
        arena = np.ceil((ram.max(0) + state.sum(0)) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return np.stack([cycles.sum(0), arena, flash.sum(0)], 1), there

    def parameters(self, config: int, chains: Chains) -> Floats:
        """Of each network, (chains,)."""
        (parts,), _ = self._along((self._table.parameters,), config, chains)
        return np.asarray(parts.sum(0))

    def _along(
        self, tables: Sequence[ChoiceCosts], config: int, chains: Chains
    ) -> tuple[list[Floats], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """What each table says of every network's parts, (parts, chains) each, and whether the space has it."""
        places = self._places
        group, width = places.group[config], chains.widths[:, 0]
        place, there = places.stem[group, chains.stem], places.stem_taken[group, chains.stem]
        parts = [[np.full(len(place), x.align[config]) for x in tables]]
        parts.append([x.stem[config, chains.stem, width] for x in tables])
        for operation, drawn in zip(chains.operations.T, chains.widths.T[1:], strict=True):
            skipped = places.skipped[place, operation]
            after = np.where(self._keeps[operation] | skipped, width, drawn)
            there = there & places.taken[place, operation]
            at = (config, places.scale[place], operation, width, after)
            parts.append([np.where(skipped, 0.0, x.chain[at]) for x in tables])
            place, width = places.after[place, operation], after
        parts.append([x.head[config, places.scale[place], width, places.rows[place]] for x in tables])
        return [np.stack(x) for x in zip(*parts, strict=True)], there
