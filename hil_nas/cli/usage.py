"""An argparse parser whose errors are the program's own: raised, in one line, with what was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from hil_nas.cli.console import standard_output
from hil_nas.errors import UsageError
from hil_nas.values import none_of, suggestion


class Parser(argparse.ArgumentParser):
    """Options cannot be abbreviated: `--seed` is not short for `--seeds`.

    Args:
        examples: lines with which --help ends, as they are.
    """

    def __init__(self, *, examples: Sequence[str] = (), **how: Any) -> None:
        super().__init__(allow_abbrev=False, **how)
        self._examples = examples

    def format_help(self) -> str:
        examples = "".join(f"  {x}\n" for x in self._examples)
        return super().format_help() + (f"\nexamples:\n{examples}" if examples else "")

    def error(self, message: str) -> NoReturn:
        """
        Raises:
            UsageError: always.
        """
        raise UsageError(message, hint=f"`{self.prog} --help` says what it takes")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As argparse's; the error for an unknown option names the one that was probably meant.

        Raises:
            UsageError: for words that are not understood.
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            own: Parser = getattr(parsed, "parser", self)
            close = suggestion(unknown[0].partition("=")[0], own._option_string_actions, "options")
            own.error(f"unknown: {' '.join(unknown)}{f', {close}' if 'did you mean' in close else ''}")
        return parsed

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints what --help says. argparse itself would ignore that it cannot be written."""
        with standard_output():
            print(message, end="", file=file)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, none_of(str(value), map(str, action.choices)))
