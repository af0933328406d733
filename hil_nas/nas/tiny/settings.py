"""How a search of the `tiny` space runs."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.nas.settings import GridSettings


@dataclass(frozen=True)
class TinySettings(GridSettings):
    """Those of the `tiny` space; its weights are trained by AdamW.

    Clips that train weights are heard three times, augmented differently: heard once, a supernet knew them by heart.

    Attributes:
        band: the least share of the cycles that a front end leaves to its network, of networks that are drawn.
        gamma_rate: low enough that gamma is decided by weights that have learned: front ends that leave their networks
            few cycles learn faster, and at twice this rate one of them led when a run was half over.
        alpha_rate: low as well: at twice this rate, behind a warm-up of a quarter, alpha was decided at 8 ms by kernels
            of 15 rows, which learn fastest: what it named had 0.52 after six epochs, chains of 5 rows 0.43.
        worth: of the parameters of the largest chain, as a log-probability.
        front_ends, paths: how many are drawn for a step of alpha and gamma: paths on each front end.
    """

    rounds: int = 800
    learnt: float = 0.75
    heard: int = 3
    gamma_rate: float = 0.0025
    decide_every: int = 8
    weight_rate: float = 2e-2
    alpha_rate: float = 0.01
    band: float = 0.6
    worth: float = 20.0
    front_ends: int = 3
    paths: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect_at_least(band=0, worth=0, front_ends=2, paths=2)
