"""Regular chains: one separable convolution over and over, of one width or of two neighbouring ones, the last perhaps
with a stride. No torch.

Of networks at a limit, regular ones are as a class better than those drawn evenly from the space, as RegNet found
(Radosavovic et al., arXiv:2003.13678). At 8 ms seven of them, 15 epochs each on one front end, had validation losses of
0.371 to 0.422; the best of 24 networks that a supernet liked, raced, 0.415. With a stride behind the first, of sixteen
at 8 ms the best four had 0.418 to 0.436 after eight epochs, in three of them the last one's; without any the best of
nine 0.433 to 0.454.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from hil_nas.nas.tiny.band import Band, Chains
from hil_nas.nas.tiny.cost_table import Indices
from hil_nas.nas.tiny.space import SKIP, TinySpace


def regular_chains(space: TinySpace) -> Chains:
    """All of a space: every stem, every separable convolution without stride, every depth, the last one also with a
    stride; narrow first, then at most one width wider."""
    skip = space.operations.index(SKIP) if SKIP in space.operations else None
    stems, widths, operations = [], [], []
    for depth in range(1 if skip is not None else space.positions, space.positions + 1):
        idle = space.positions - depth
        for pattern, chain, stem in product(
            _widths(len(space.widths), depth + 1), _operations(space, depth), range(len(space.stems))
        ):
            stems.append(stem)
            widths.append([*pattern, *[pattern[-1]] * idle])
            operations.append([*chain, *[skip or 0] * idle])
    shape = (len(stems), space.positions)
    return Chains(
        np.array(stems, int), np.array(widths, int).reshape(len(stems), 1 + space.positions),
        np.array(operations, int).reshape(shape),
    )  # fmt: skip


def fullest(band: Band, config: int, chains: Chains) -> Indices:
    """Of those inside a band the one with most cycles for each stem, operation and depth; they differ in widths."""
    inside, cycles = band.inside(config, chains)
    order = inside[np.argsort(-cycles[inside], kind="stable")]
    kinds = np.column_stack([chains.stem, chains.operations])[order]
    _, first = np.unique(kinds, axis=0, return_index=True)
    return np.asarray(order[np.sort(first)])


def _operations(space: TinySpace, depth: int) -> list[list[int]]:
    """(chains, depth): each convolution so many times, and where that is more than once, also with the last strided."""
    separable = [(i, x) for i, x in enumerate(space.operations) if x.kind == "separable"]
    repeated = [(i, x) for i, x in separable if x.stride == (1, 1)]
    last = separable if depth > 1 else repeated
    return [[i] * (depth - 1) + [j] for i, x in repeated for j, y in last if x.kernel == y.kernel]


def _widths(count: int, parts: int) -> list[list[int]]:
    even = [[i] * parts for i in range(count)]
    stepped = [[i] * narrow + [i + 1] * (parts - narrow) for i in range(count - 1) for narrow in range(1, parts)]
    return even + stepped
