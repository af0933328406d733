"""Where the positions of a space's chains can read, as arrays: how costs are looked up for many chains at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hil_nas.front_ends import FrontEnd
from hil_nas.nas.tiny.space import SKIP, Place, TinySpace

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Every place that a position of some chain finds. Configurations on which strides and kernels do the same share
    theirs, and make a group; of whole clips that are all.

    Attributes:
        group: (configs,) of each configuration.
        groups: (places,) of each place.
        scale: (places,) into `TinySpace.scales`.
        rows: (places,) that a stream's average would read here.
        stem: (groups, stems) the place behind each stem.
        stem_taken: (groups, stems) whether that does what it says.
        after: (places, operations) the place behind each operation.
        taken: (places, operations) whether that does what it says.
        skipped: (places, operations) whether it does nothing.
    """

    group: Indices
    groups: Indices
    scale: Indices
    rows: Indices
    stem: Indices
    stem_taken: Flags
    after: Indices
    taken: Flags
    skipped: Flags

    def heads(self, config: int) -> list[tuple[int, int]]:
        """(scale, rows that a stream keeps) at which chains on a configuration end."""
        own = self.groups == self.group[config]
        return sorted(set(zip(self.scale[own].tolist(), self.rows[own].tolist(), strict=True)))

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, space: TinySpace) -> Places:
        sizes = [_sizes(space, x) for x in space.configs]
        different = list(dict.fromkeys(sizes))
        like = [space.configs[sizes.index(x)] for x in different]
        numbers: dict[tuple[int, Place], int] = {}  # of the places found so far, of each group

        def number(group: int, place: Place) -> int:
            return numbers.setdefault((group, place), len(numbers))

        stem = [[number(g, space.stem_place(x, s)) for s in space.stems] for g, x in enumerate(like)]
        stem_taken = [[space.stem_at(x, s) == s for s in space.stems] for x in like]
        rows: list[tuple[list[int], list[bool], list[bool]]] = []
        while len(rows) < len(numbers):
            group, place = list(numbers)[len(rows)]
            taken = [space.taken(like[group], place, x) for x in space.operations]
            behind = [number(group, space.place_after(like[group], place, x)) for x in taken]
            same = [x == y for x, y in zip(taken, space.operations, strict=True)]
            rows.append((behind, same, [x == SKIP for x in taken]))
        found = list(numbers)
        after, whole, skipped = (np.array(x) for x in zip(*rows, strict=True))
        return cls(
            group=np.array([different.index(x) for x in sizes]),
            groups=np.array([g for g, _ in found]),
            scale=np.array([space.scales.index(x) for _, (x, _) in found]),
            rows=np.array([space.kept_rows(like[g], x) for g, x in found]),
            stem=np.array(stem), stem_taken=np.array(stem_taken), after=after, taken=whole, skipped=skipped,
        )  # fmt: skip


def _sizes(space: TinySpace, config: FrontEnd) -> tuple[int, ...]:
    """What strides and kernels go by."""
    return () if space.period_samples is None else (config.frames, space.step_frames(config))
