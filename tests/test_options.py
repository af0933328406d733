"""Options from the fields of dataclasses: read by type, checked however they are set, listed by --help."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

from hil_nas.cli.arguments import parser
from hil_nas.cli.parsing import add_options, settings
from hil_nas.cli.usage import Parser
from hil_nas.config import SPACES, USUAL, BaselineConfig, SearchConfig
from hil_nas.errors import InputError, UsageError
from hil_nas.nas.spaces import KINDS
from hil_nas.options import check, like, option, option_of
from hil_nas.workflows.network_sampling import OF_SPACE


@dataclass(frozen=True)
class Inner:
    ratio: float = option(2.0, above=1, help="of two things", group="more")


@dataclass(frozen=True)
class Outer:
    what: Path = option(positional=True, help="a path")
    count: int = option(3, least=1, most=9, metavar="N", help="how many")
    kind: Literal["one", "two"] | None = option(None, help="of what kind")
    loud: bool = option(False, help="100 % loud")
    still: bool = option(True, flag="--moving", help="or it moves")
    also: tuple[str, ...] = option((), parse=str, repeated=True, help="and this")
    hidden: int = option(7, least=5)
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        check(self)
        if self.loud and not self.still:
            raise InputError("loud things stand still", hint="leave out one")


def understood(*words: str, **how: Any) -> Outer:
    own = Parser(prog="test")
    add_options(own, Outer, **how)
    return settings(Outer, own.parse_args(words))


def test_fields_are_read_by_their_type_and_defaults_stay() -> None:
    assert understood("x") == Outer(Path("x"))
    words = ("x", "--count", "9", "--kind", "two", "--moving", "--also", "a", "--also", "b c", "--ratio", "2.5")
    assert understood(*words) == Outer(Path("x"), 9, "two", False, False, ("a", "b c"), 7, Inner(2.5))
    with pytest.raises(UsageError, match="unknown: --hidden"):
        understood("x", "--hidden", "6")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "what"), (("x", "--count", "10"), "--count: '10' is not a whole number from 1 to 9"),
        (("x", "--ratio", "1"), "--ratio: '1' is not a finite number above 1"),
        (("x", "--kind", "tow"), "--kind: 'tow' is none of one, two, did you mean 'two'"),
        (("x", "--loud", "--moving"), "loud things stand still"), (("x", "--cuont", "1"), "did you mean '--count'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_option(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        understood(*words)


def test_a_range_holds_however_a_setting_is_set() -> None:
    for wrong in ({"count": 0}, {"count": 10}, {"hidden": 4}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*, expected a number"):
            Outer(Path("x"), **wrong)  # type: ignore[arg-type]


def test_a_field_can_take_a_list_or_no_option() -> None:
    own = Parser(prog="test")
    add_options(own, Outer, lists=("count", "kind"), without=("loud",))
    parsed = own.parse_args(["x", "--count", "1,2", "--kind", "two,none"])
    assert (parsed.count, parsed.kind) == ((1, 2), ("two", None))
    with pytest.raises(UsageError, match="'none' is not a whole number"):
        own.parse_args(["x", "--count", "none"])
    with pytest.raises(UsageError, match="unknown: --loud"):
        own.parse_args(["x", "--loud"])


def test_help_has_groups_and_defaults() -> None:
    own = Parser(prog="test")
    add_options(own, Outer)
    text = own.format_help()
    assert "how many (default: 3)" in text and "100 % loud" in text and "--kind {one,two}" in text
    assert "more:\n  --ratio RATIO     of two things (default: 2.0)" in text


def test_an_option_can_be_like_another() -> None:
    @dataclass(frozen=True)
    class Other:
        count: int = like(Outer, "count", 5, help="how many others")

    alike = option_of(fields(Other)[0])
    assert alike is not None and Other().count == 5
    assert (alike.help, alike.metavar, alike.range) == ("how many others", "N", option_of(fields(Outer)[1]).range)  # type: ignore[union-attr]


def names(kind: type) -> set[str]:
    """Fields that are options, of dataclasses within as well."""
    kept: set[str] = set()
    for x in fields(kind):
        hint = get_type_hints(kind)[x.name]
        if is_dataclass(hint):
            kept |= names(hint)  # type: ignore[arg-type]
        elif (own := option_of(x)) is not None and own.help is not None:
            kept.add(x.name)
    return kept


def test_what_a_search_is_asked_is_what_its_command_and_a_sweep_offer() -> None:
    searched, swept = (vars(parser().parse_args([x])) for x in ("search", "sweep"))
    assert names(SearchConfig) <= set(searched) and names(SearchConfig) - {"preset", "seed"} <= set(swept)
    assert names(BaselineConfig) - {"max_load"} <= set(vars(parser().parse_args(["baseline", "ds-cnn"])))


def test_every_space_has_defaults_parts_and_networks_to_measure() -> None:
    assert set(USUAL) == set(KINDS) > set(SPACES)
    assert set(OF_SPACE) == set(SPACES)


def test_help_loads_nothing_heavy() -> None:
    """What `hil_nas --help` waits for."""
    heavy = ("torch", "tensorflow", "sklearn", "jinja2")
    code = f"import sys, hil_nas.cli; hil_nas.cli.parser(); print([x for x in {heavy} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
