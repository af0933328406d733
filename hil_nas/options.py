"""Settings that are options of the command line: name, type, default, check and help stand at the dataclass's field.

    epochs: int = option(40, least=1, most=10_000, metavar="N", help="of the training")

is `--epochs N`, refuses what is no whole number from 1 to 10000 wherever it is set (`check`), and is listed by --help.
How the text is read follows from the field's type: a whole number, a finite number, one of a Literal's names, a path;
a bool is a switch. `cli.parsing` makes the parser.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from hil_nas.errors import InputError
from hil_nas.values import Range

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """What a field says beside its name, its type and its default.

    Attributes:
        help: for --help, which adds the default where this does not name one; None: set by no option.
        flag: as it is written, if not as the field's name.
        positional: given by its place, without a flag.
        metavar: stands for the value in --help.
        parse: reads the text where the field's type does not say how; raises InputError.
        range: of a number.
        group: the heading under which --help lists it.
        repeated: the option may be given several times, and the field is a tuple of what was given.
        nargs: how many words it takes, if not one; `?`: one or none, `*`: any number, `+`: one or more.
    """

    help: str | None = None
    flag: str = ""
    positional: bool = False
    metavar: str | tuple[str, ...] | None = None
    parse: Callable[[str], Any] | None = None
    range: Range = Range()
    group: str = ""
    repeated: bool = False
    nargs: int | Literal["?", "*", "+"] | None = None


def option(
    default: Any = MISSING,
    *,
    factory: Any = MISSING,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    **how: Any,
) -> Any:
    """A dataclass's field with an `Option`; required where it has neither a default nor a factory of one."""
    metadata = {_KEY: Option(range=Range(least, above, most), **how)}
    return field(default=default, default_factory=factory, metadata=metadata)


def like(kind: type, name: str, default: Any = MISSING, **changed: Any) -> Any:
    """The option that another dataclass has under this name, with what is changed."""
    original = next(x for x in fields(kind) if x.name == name)
    metadata = {_KEY: dataclasses.replace(original.metadata[_KEY], **changed)}
    if default is MISSING:
        return field(default=original.default, default_factory=original.default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_of(x: dataclasses.Field[Any]) -> Option | None:
    """What the field says of its option; None for a field of another kind."""
    return x.metadata.get(_KEY)


def check(settings: Any) -> None:
    """Looks whether every number lies in its range, however it was set.

    Raises:
        InputError: for the first that does not.
    """
    for x in fields(settings):
        declared, value = option_of(x), getattr(settings, x.name)
        if declared is not None and isinstance(value, int | float) and not declared.range.holds(value):
            raise InputError(f"{x.name} is {value}, expected a number {declared.range}")
