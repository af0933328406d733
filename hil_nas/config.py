"""What a search is asked, resolved and checked once at the edge."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hil_nas.baselines import baseline
from hil_nas.budget import Budget
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, paper_grid, search_grid
from hil_nas.words import ALL_WORDS

SPACES = ("tiny", "darts")
SEARCH_EPOCHS = {"tiny": 14, "darts": 20, "paper": 50}  # by preset, else by space
RIVALS = {"tiny": 5, "darts": 0, "paper": 0}  # each network of cells takes minutes to train
ALIGN: dict[str, Literal["conv", "pad"]] = {"tiny": "conv", "darts": "pad", "paper": "conv"}
TRAIN_EPOCHS, PAPER_TRAIN_EPOCHS = 40, 100
LEAST = {  # of what is a whole number
    "search_epochs": 5, "rivals": 0, "race_epochs": 1, "train_epochs": 1, "clips": 50, "measure_every": 0, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class SearchConfig:
    """Everything that decides what a search finds.

    Attributes:
        board: `BOARD@HOST`.
        budget: the limits.
        words: the keywords; silence and unknown are added. Empty: the ten usual ones, or all words of a folder that
            has not those ten.
        data: a folder of recorded words, or None for words spoken by espeak-ng.
        preset: "paper" is the whole protocol of arXiv 2507.15545 on Speech Commands: its 35 words without silence and
            unknown, clips as they are, its eight configurations, the supernet and settings of PC-DARTS, the most
            preferred network trained from scratch. Its space is `darts`; epochs, words and configurations may be given.
        space: of networks.
        grid: the front ends to choose from; empty: any, with a gradient on window, hop and coefficients.
        price_front_end: whether the search knows what a configuration's front end costs. Without it the latency limit
            holds for the network alone, and front end and network together may miss it: to see what the price is worth.
        align: how the configurations share one supernet; "auto": as suits its preset or space. At 104 ms cells that
            were searched with padding were better than with convolutions by 4.3 points in the mean of three seeds.
        gamma_ratio: how far the largest gamma must lead every other to end the data search; the paper's is 2.
        search_epochs: of the supernet; 0: as many as its preset or space takes.
        rivals: other networks within the limits that race against the derived one, as later do neighbours of the best,
            before one is trained; 0: no race, -1: as many as its preset or space takes.
        race_epochs: how long they race.
        train_epochs: of the derived network from scratch; 0: as many as the preset takes, else 40.
        measure_every: measure the network that would be derived now every so many epochs; 0: only at the end.
        clips: how many clips the final check compares on the board, bit by bit.
    """

    board: str = "nucleo-l4r5@virtual"
    budget: Budget = field(default_factory=Budget)
    words: tuple[str, ...] = ()
    data: str | None = None
    preset: Literal["paper"] | None = None
    space: Literal["tiny", "darts"] = "tiny"
    grid: tuple[FrontEnd, ...] = field(default_factory=search_grid)
    price_front_end: bool = True
    align: Literal["auto", "conv", "pad"] = "auto"
    gamma_ratio: float = 2.0
    search_epochs: int = 0
    rivals: int = -1
    race_epochs: int = 6
    train_epochs: int = 0
    measure_every: int = 5
    clips: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        self._resolve()
        if not self.grid and self.space != "tiny":
            raise InputError(f"the space '{self.space}' needs configurations to choose from", hint="name some of them")
        if len(set(self.grid)) != len(self.grid):
            found = [str(x) for x in self.grid]
            raise InputError(f"the grid needs different front ends, found {found}")
        if len(set(self.words)) != len(self.words):
            raise InputError(f"the keywords must be different words, found {list(self.words)}")
        if not 1 < self.gamma_ratio < float("inf"):
            raise InputError(f"gamma_ratio is {self.gamma_ratio}, expected a finite number above 1")
        _check_least(self)

    def _resolve(self) -> None:
        """Fills in what was left open."""
        found: dict[str, Any] = {}
        if self.space not in SPACES:
            raise InputError(f"there is no space '{self.space}', expected one of {', '.join(SPACES)}")
        if self.preset == "paper":
            if self.data is None:
                raise InputError("the paper's protocol learns from Speech Commands", hint="name its folder with --data")
            grid = paper_grid() if self.grid == search_grid() else self.grid
            found = {"space": "darts", "words": self.words or ALL_WORDS, "grid": grid}
        if self.rivals == -1:
            found["rivals"] = RIVALS[self.preset or self.space]
        if self.align == "auto":
            found["align"] = ALIGN[self.preset or self.space]
        if not self.search_epochs:
            found["search_epochs"] = SEARCH_EPOCHS[self.preset or self.space]
        if not self.train_epochs:
            found["train_epochs"] = PAPER_TRAIN_EPOCHS if self.preset else TRAIN_EPOCHS
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "grid": [str(x) for x in self.grid]}


@dataclass(frozen=True)
class BaselineConfig:
    """Everything that decides what training a published network gives; the names mean what `SearchConfig`'s do.

    Attributes:
        network: one of `baselines.BASELINES`.
    """

    network: str
    board: str = "nucleo-l4r5@virtual"
    budget: Budget = field(default_factory=Budget)
    words: tuple[str, ...] = ()
    data: str | None = None
    train_epochs: int = 40
    clips: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        baseline(self.network, 2)
        if len(set(self.words)) != len(self.words):
            raise InputError(f"the keywords must be different words, found {list(self.words)}")
        _check_least(self)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _check_least(config: SearchConfig | BaselineConfig) -> None:
    for name, least in LEAST.items():
        if getattr(config, name, least) < least:
            raise InputError(f"{name} is {getattr(config, name)}, expected at least {least}")
