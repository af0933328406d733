"""The spaces by name, each by its parts: all that a workflow needs to know of them; `config.USUAL` has their defaults.

"paper" is `darts` in the size and with the settings of PC-DARTS' search on CIFAR-10 (arXiv:1907.05737), on which
arXiv 2507.15545 builds: 8 cells of 4 nodes, 16 channels, batches of 256, 15 of 50 epochs warm-up, every operator on
every edge. The derived network keeps the size; with 35 classes it has the order of the 298 K parameters reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hil_nas.nas.darts.cost_table import tabulate_darts
from hil_nas.nas.darts.derive import feasible_darts_configs
from hil_nas.nas.darts.settings import PC_DARTS, DartsSettings
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.strategy import DartsStrategy
from hil_nas.nas.input_space import InputSpace
from hil_nas.nas.protocols import Strategy
from hil_nas.nas.settings import GridSettings
from hil_nas.nas.tiny.cost_table import tabulate
from hil_nas.nas.tiny.derive import feasible_configs
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy


@dataclass(frozen=True)
class Kind:
    """What one part gives the next takes.

    Attributes:
        space: of `configs`, `classes` and `align`.
        tabulate: a space's cost table; arguments as of `nas.tiny.cost_table.tabulate`.
        feasible: (cost table, limits) to the configurations on which a network holds the limits.
        settings: of `epochs` and of whatever else a search is asked.
        strategy: of cost table and settings, then as `nas.protocols.Start`.
    """

    space: Callable[..., InputSpace]
    tabulate: Callable[..., Any]
    feasible: Callable[..., tuple[int, ...]]
    settings: Callable[..., GridSettings]
    strategy: Callable[..., Strategy[Any]]


def _tiny_settings(epochs: int, **more: Any) -> TinySettings:
    """Half of the epochs train weights alone: alpha and gamma that begin earlier settle on what learns fast."""
    return TinySettings(epochs=epochs, warmup_epochs=epochs // 2, **more)


def _darts_settings(epochs: int, **more: Any) -> DartsSettings:
    """The warm-up takes PC-DARTS' share, 15 epochs of 50."""
    return DartsSettings(epochs=epochs, warmup_epochs=epochs * 3 // 10, **more)


def _paper_space(**given: Any) -> DartsSpace:
    return DartsSpace(cells=8, nodes=4, channels=16, **given)


def _paper_settings(epochs: int, **more: Any) -> DartsSettings:
    return DartsSettings(epochs=epochs, warmup_epochs=epochs * 3 // 10, **PC_DARTS, **more)


KINDS = {
    "tiny": Kind(TinySpace, tabulate, feasible_configs, _tiny_settings, TinyStrategy),
    "darts": Kind(DartsSpace, tabulate_darts, feasible_darts_configs, _darts_settings, DartsStrategy),
    "paper": Kind(_paper_space, tabulate_darts, feasible_darts_configs, _paper_settings, DartsStrategy),
}
