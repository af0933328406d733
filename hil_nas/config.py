"""The configuration of a search or a baseline, resolved and checked once at the edge. Its fields are the options of the
command line (`hil_nas.options`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from hil_nas.baselines import BASELINES, baseline
from hil_nas.budget import Budget
from hil_nas.errors import InputError
from hil_nas.front_ends import (
    ONE_SECOND,
    WRITTEN,
    ClipFormat,
    FrontEnd,
    clip_grid,
    paper_grid,
    parse_front_end,
    search_grid,
)
from hil_nas.options import check, like, option
from hil_nas.target import BoardTarget
from hil_nas.units import parse_seconds
from hil_nas.values import listed, one_of
from hil_nas.words import ALL_WORDS

Space = Literal["tiny", "darts"]
Strategy = Literal["gradient", "parameters"]
SPACES: tuple[Space, ...] = get_args(Space)
MOST_EPOCHS = 10_000
_WHAT, _HOW = "what to recognise", "how to search"


@dataclass(frozen=True)
class Usual:
    """The defaults of a space or preset.

    Attributes:
        search_epochs, train_epochs: of the supernet, and of the derived network.
        candidates: how many other networks are trained beside the derived one; each of cells takes minutes.
        align: how the configurations share one supernet. At 104 ms cells that were searched with padding were better
            than with convolutions by 4.3 points in the mean of three seeds.
        grid: the front ends to choose from.
        continuous: whether the front end may be found by gradient instead of from a list.
    """

    search_epochs: int
    train_epochs: int
    candidates: int
    align: Literal["conv", "pad"]
    grid: tuple[FrontEnd, ...]
    continuous: bool


USUAL = {  # by preset, else by space; the parts of each are `nas.spaces.KINDS`
    "tiny": Usual(16, 80, 12, "conv", clip_grid(), continuous=True),
    "darts": Usual(20, 80, 0, "pad", search_grid(), continuous=False),
    "paper": Usual(50, 100, 0, "conv", paper_grid(), continuous=False),
}
_LEFT_OPEN = search_grid()  # itself: who names these very front ends gets them


def _board(text: str) -> str:
    """BOARD or BOARD@HOST in its usual spelling; whether there is such a board is checked when it is opened."""
    return str(BoardTarget.parse(text))


def _absolute(text: str) -> str:
    """A folder's path, wherever a resumed run or a cluster's process starts."""
    return str(Path(text).resolve())


def _grid(text: str) -> tuple[FrontEnd, ...]:
    return () if text == "continuous" else listed(parse_front_end)(text)


def _each(name: str) -> str:
    return ", ".join(f"{getattr(usual, name)} for {key}" for key, usual in USUAL.items())


@dataclass(frozen=True)
class SearchConfig:
    """Everything that decides what a search finds."""

    board: str = option("nucleo-l4r5@virtual", parse=_board, metavar="BOARD[@HOST]", help="what to measure on")
    budget: Budget = Budget()
    data: str | None = option(
        None, parse=_absolute, metavar="FOLDER", group=_WHAT,
        help="recorded words, a folder for each as in Speech Commands (default: words spoken by espeak-ng)",
    )  # fmt: skip
    words: tuple[str, ...] = option(  # silence and unknown are added
        (), parse=listed(str), metavar="A,B,...", group=_WHAT,
        help="keywords (default: the ten of Speech Commands, or all words of a folder that has not those ten)",
    )  # fmt: skip
    negatives: tuple[str, ...] = option(
        (), parse=_absolute, repeated=True, metavar="FOLDER", group=_WHAT,
        help="recordings in which no keyword is said: trains for a stream, with cuts of these and windows between "
        "words as the class unknown, and words anywhere in a window; may be given several times",
    )  # fmt: skip
    listen_s: float | None = option(
        None, flag="--listen", parse=parse_seconds, metavar="TIME", group=_WHAT,
        help="a stream, decided on so often, like 60ms: limits then hold for one decision, the front end's new frames "
        "and one step of the network",
    )  # fmt: skip
    space: Space = option(
        "tiny", group=_HOW, help="tiny: chains of depthwise-separable blocks; darts: the cells of PC-DARTS"
    )
    strategy: Strategy = option(
        "gradient", group=_HOW,
        help="gradient: front end and network by gradient over a supernet, then raced; parameters: for comparison, the "
        "networks with most parameters that fill the limits, raced for as long",
    )  # fmt: skip
    align: Literal["auto", "conv", "pad"] = option(
        "auto", group=_HOW, help=f"how front ends share a supernet; auto: {_each('align')}"
    )
    # Its 35 words without silence and unknown, clips as they are, its eight configurations, the supernet and settings
    # of PC-DARTS, the most preferred network trained from scratch. Epochs, words and configurations may be given.
    preset: Literal["paper"] | None = option(
        None, group=_HOW,
        help="the whole protocol of arXiv 2507.15545 on the 35 words of Speech Commands in --data, for a GPU",
    )  # fmt: skip
    price_front_end: bool = option(
        True, flag="--unpriced-front-end", group=_HOW,
        help="for comparison: search as if the front end cost nothing; the latency limit is then the network's alone",
    )  # fmt: skip
    grid: tuple[FrontEnd, ...] = option(  # empty: continuous
        _LEFT_OPEN, flag="--front-end", parse=_grid, metavar="NAME,...", group=_HOW,
        help=f"front ends to choose from, as {WRITTEN} (default: the paper's eight MFCC, each with 40, 20 and 13 "
        "coefficients, and six of 24 mel bins over half an FFT; for chains that hear whole clips those of 40 mel bins "
        "at most and hops of 12.5 ms at least), or 'continuous': window, hop and coefficients by gradient",
    )  # fmt: skip
    gamma_ratio: float = option(
        2.0, above=1, metavar="R", group=_HOW,
        help="the data search ends once one configuration's gamma is R times every other's; 1e9: never",
    )  # fmt: skip
    search_epochs: int = option(  # 0: as many as usual
        0, least=5, most=MOST_EPOCHS, metavar="N", group=_HOW,
        help=f"of the supernet (default: {_each('search_epochs')})",
    )  # fmt: skip
    measure_every: int = option(
        5, least=0, most=MOST_EPOCHS, metavar="N", group=_HOW,
        help="measure the network of the moment on the board every N epochs, 0 for the end only",
    )  # fmt: skip
    # Networks within the limits that are trained briefly beside the derived one, as later are neighbours of the best,
    # before one is trained in full. 0: none, -1: as many as usual.
    candidates: int = option(-1, least=0)
    train_epochs: int = option(  # 0: as many as usual
        0, least=1, most=MOST_EPOCHS, metavar="N", group=_HOW,
        help=f"of the training (default: {_each('train_epochs')})",
    )  # fmt: skip
    clips: int = option(60, least=50)  # that the final check compares on the board, bit by bit
    seed: int = option(0, least=0, most=2**32 - 1, metavar="N", group=_HOW, help="of all that is drawn")

    def __post_init__(self) -> None:
        self.budget.expect_stream(self.listen_s is not None)
        self._resolve()
        if not self.grid and not USUAL[self.preset or self.space].continuous:
            raise InputError(f"the space '{self.space}' needs configurations to choose from", hint="name some of them")
        if self.strategy == "parameters" and self.space != "tiny":
            raise InputError(f"the strategy 'parameters' is of the space tiny, found '{self.space}'")
        if len(set(self.grid)) != len(self.grid):
            names = [str(x) for x in self.grid]
            raise InputError(f"the grid needs different front ends, found {names}")
        if len({x.clip for x in self.grid}) > 1:
            raise InputError(f"front ends of one search hear the same audio, found {[str(x) for x in self.grid]}")
        _check_words(self.words)
        check(self)

    def _resolve(self) -> None:
        """Fills in what was left open."""
        if self.space not in SPACES:
            raise InputError(f"there is no space '{self.space}', expected one of {', '.join(SPACES)}")
        resolved: dict[str, Any] = {}
        if self.preset == "paper":
            if self.data is None:
                raise InputError("the paper's protocol learns from Speech Commands", hint="name its folder with --data")
            resolved = {"space": "darts", "words": self.words or ALL_WORDS}
        usual = USUAL[self.preset or self.space]
        if self.listen_s is not None:  # of a stream's front ends each has a stem of its own
            usual = replace(usual, align="pad", grid=search_grid())
            self._check_stream()
        grid = usual.grid if self.grid is _LEFT_OPEN else self.grid
        resolved["grid"] = grid if self.listen_s is None else _stepping(grid, self.listen_s)
        for name, left_open in (("candidates", -1), ("align", "auto"), ("search_epochs", 0), ("train_epochs", 0)):
            if getattr(self, name) == left_open:
                resolved[name] = getattr(usual, name)
        for name, value in resolved.items():
            object.__setattr__(self, name, value)

    def _check_stream(self) -> None:
        """
        Raises:
            InputError: for what cannot hear a stream.
        """
        if self.space != "tiny" or self.preset is not None:
            raise InputError(
                "networks of cells pad along time, so that they hear no stream", hint="use --space tiny for --listen"
            )
        if not self.grid:
            raise InputError("a front end found by gradient has no hop that divides a period", hint="name front ends")
        if self.align == "conv":
            raise InputError("--align conv is of clips: a stream's front ends share no grid", hint="leave it out")

    @property
    def period_samples(self) -> int | None:
        """From one decision of a stream to the next; None: clips are recognised one by one."""
        return None if self.listen_s is None else round(self.listen_s * self.clip.sample_rate_hz)

    @property
    def decided_budget(self) -> Budget:
        """For a clip, or for one decision of a stream."""
        return self.budget if self.listen_s is None else self.budget.of_decision(self.listen_s)

    @property
    def clip(self) -> ClipFormat:
        """What its front ends hear."""
        return self.grid[0].clip if self.grid else ONE_SECOND

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "grid": [str(x) for x in self.grid]}


def _stepping(grid: tuple[FrontEnd, ...], period_s: float) -> tuple[FrontEnd, ...]:
    """The front ends that have whole frames in a period.

    Raises:
        InputError: where none has; it names the nearest periods.
    """
    rate_hz = grid[0].clip.sample_rate_hz
    period = period_s * rate_hz
    kept = tuple(x for x in grid if abs(period - round(period)) < 1e-6 and x.steps_by(round(period)))
    if kept:
        return kept
    periods = sorted({hops * x.hop_samples for x in grid for hops in range(1, x.frames + 1)})
    near = [*[x for x in periods if x < period][-1:], *[x for x in periods if x > period][:1]]
    named = " and ".join(f"{1e3 * x / rate_hz:g}ms" for x in near)
    raise InputError(f"no front end has a whole number of hops in {1e3 * period_s:g}ms", hint=f"the nearest: {named}")


@dataclass(frozen=True)
class BaselineConfig:
    """Everything that decides what training a published network gives."""

    network: str = option(
        positional=True, parse=one_of(*BASELINES), metavar="NETWORK", help=f"one of: {', '.join(BASELINES)}"
    )
    board: str = like(SearchConfig, "board")
    budget: Budget = Budget()
    data: str | None = like(SearchConfig, "data")
    words: tuple[str, ...] = like(SearchConfig, "words")
    negatives: tuple[str, ...] = like(SearchConfig, "negatives")
    train_epochs: int = like(SearchConfig, "train_epochs", USUAL["tiny"].train_epochs, help="of the training", group="")
    clips: int = like(SearchConfig, "clips")
    seed: int = like(SearchConfig, "seed", group="")

    def __post_init__(self) -> None:
        self.budget.expect_stream(False)
        baseline(self.network, 2)
        _check_words(self.words)
        check(self)

    @property
    def period_samples(self) -> int | None:
        """None: published networks recognise clips."""
        return None

    @property
    def clip(self) -> ClipFormat:
        """What its front end hears."""
        return baseline(self.network, 2)[1].clip

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _check_words(words: tuple[str, ...]) -> None:
    if len(set(words)) != len(words):
        raise InputError(f"the keywords must be different words, found {list(words)}")
