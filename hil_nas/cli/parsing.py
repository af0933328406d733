"""Makes the command line from dataclasses whose fields are options, and fills them from what was parsed."""

from __future__ import annotations

import argparse
import itertools
import types
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from hil_nas.errors import InputError, UsageError
from hil_nas.options import Option, option_of
from hil_nas.values import listed, one_of, or_none

Settings = TypeVar("Settings")
LISTS = "axes: lists, searched in every combination; a limit may be none"


def add_options(
    parser: argparse.ArgumentParser, kind: type, *, lists: Collection[str] = (), heading: str = "",
    without: Collection[str] = (),
) -> None:  # fmt: skip
    """Adds an option for every field of a dataclass that is one, and for those of dataclasses within it.

    Args:
        lists: fields that take several values with commas between; those whose default is None also take `none`.
        heading: under which --help lists these; empty: under their own.
        without: fields that get no option.
    """
    hints = typing.get_type_hints(kind)
    for field in fields(kind):
        option, hint = option_of(field), _bare(hints[field.name])
        if is_dataclass(hint) and isinstance(hint, type):
            add_options(parser, hint, lists=lists, heading=heading, without=without)
        elif option is not None and option.help is not None and field.name not in without:
            if field.name in lists:
                _add_list(parser, field, option, hint, heading)
            else:
                _add(parser, field, option, hint)


def settings(kind: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The dataclass with the values of the options; a field that the command does not offer keeps its default.

    Raises:
        UsageError: for options that do not go together.
    """
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            given[field.name] = settings(hint, arguments)
        elif hasattr(arguments, field.name):
            value = getattr(arguments, field.name)
            given[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**given)
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from None


def combinations(arguments: argparse.Namespace, lists: Sequence[str]) -> list[argparse.Namespace]:
    """The arguments once for every combination of the values of these fields."""
    values = itertools.product(*(getattr(arguments, x) for x in lists))
    return [argparse.Namespace(**{**vars(arguments), **dict(zip(lists, x, strict=True))}) for x in values]


def _add(parser: argparse.ArgumentParser, field: Field[Any], option: Option, hint: Any) -> None:
    default = _default(field)
    how: dict[str, Any] = {"help": _help(option.help, default)}
    if hint is bool:
        how["action"] = "store_false" if default else "store_true"
    else:
        how |= {"type": _reported(_parse(option, hint)), "metavar": option.metavar or _metavar(hint)}
    if option.repeated:
        how["action"], default = "append", []
    if option.nargs is not None:
        how["nargs"] = option.nargs
    if option.positional:
        if option.nargs == "?":
            how["default"] = default
        _group(parser, option.group).add_argument(field.name, **how)
    else:
        how["required"] = field.default is MISSING and field.default_factory is MISSING
        _group(parser, option.group).add_argument(_flag(field, option), dest=field.name, default=default, **how)


def _add_list(
    parser: argparse.ArgumentParser, field: Field[Any], option: Option, hint: Any, heading: str
) -> None:
    default, parse = _default(field), _parse(option, hint)
    item = parse if default is not None else or_none(parse)
    _group(parser, heading or option.group).add_argument(
        _flag(field, option), dest=field.name, type=_reported(listed(item)), default=(default,), metavar="LIST",
        help=_help(option.help, "none" if default is None else default),
    )  # fmt: skip


def _parse(option: Option, hint: Any) -> Callable[[str], Any]:
    """How the text of an option is read: with the field's own parser, otherwise by the field's type."""
    if option.parse is not None:
        return option.parse
    if typing.get_origin(hint) is typing.Literal:
        return one_of(*get_args(hint))
    by_type: dict[Any, Callable[[str], Any]] = {
        int: option.range.whole, float: option.range.number, Path: Path, str: str,
    }  # fmt: skip
    return by_type[hint]


def _reported(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The parser in argparse's form, which adds the option's name to its errors."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _bare(hint: Any) -> Any:
    """`T` of `T | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint, *_) = [x for x in get_args(hint) if x is not type(None)]
    return hint


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _flag(field: Field[Any], option: Option) -> str:
    return option.flag or f"--{field.name.replace('_', '-')}"


def _metavar(hint: Any) -> str | None:
    return f"{{{','.join(get_args(hint))}}}" if typing.get_origin(hint) is typing.Literal else None


def _help(text: str | None, default: Any) -> str:
    sentence = text or ""
    if isinstance(default, int | float | str | Path) and not isinstance(default, bool) and "default" not in sentence:
        sentence = f"{sentence} (default: {default})".strip()
    return sentence.replace("%", "%%")


def _group(parser: argparse.ArgumentParser, title: str) -> argparse._ActionsContainer:
    """The group of options with this title, made where it is not there yet; without a title, the parser's own."""
    if not title:
        return parser
    for group in parser._action_groups:
        if group.title == title:
            return group
    return parser.add_argument_group(title)
