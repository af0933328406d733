"""Writes the reference of the command line from the parser itself, as the pages are built (a hook of MkDocs)."""

from __future__ import annotations

import argparse
from typing import Any

from hil_nas.cli.arguments import parser
from hil_nas.cli.examples import EXAMPLES
from hil_nas.folders import checkout

PAGE = "reference/command-line.md"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """MkDocs' event: the page's text, with the reference behind it where it is that page."""
    return f"{markdown}\n{reference()}" if page.file.src_uri == PAGE else markdown


def reference() -> str:
    """Markdown: a heading for each command, a table for each group of its options."""
    top = parser()
    (commands,) = [x for x in top._actions if isinstance(x, argparse._SubParsersAction)]
    return "\n".join(line for name, own in commands.choices.items() for line in _command(name, own))


def _command(name: str, own: argparse.ArgumentParser) -> list[str]:
    lines = [f"## hil_nas {name}", "", _plain(own.description or ""), ""]
    (nested, *_) = [x for x in own._actions if isinstance(x, argparse._SubParsersAction)] or [None]
    if nested is not None:
        for inner, its in nested.choices.items():
            lines += [f"### hil_nas {name} {inner}", "", _plain(its.description or ""), "", *_groups(its)]
            lines += _examples(f"{name} {inner}")
        return lines
    return lines + _groups(own) + _examples(name)


def _examples(name: str) -> list[str]:
    return [*(f"    {x}" for x in EXAMPLES.get(name, ())), ""]


def _groups(own: argparse.ArgumentParser) -> list[str]:
    lines: list[str] = []
    for group in own._action_groups:
        actions = [x for x in group._group_actions if not isinstance(x, argparse._HelpAction)]
        if actions:
            lines += [f"| {_plain(str(group.title))} | |", "|---|---|", *map(_row, actions), ""]
    return lines


def _row(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter(prog="")
    usual = formatter._get_default_metavar_for_optional(action) if action.option_strings else action.dest
    meta = formatter._format_args(action, usual)
    named = f"{', '.join(action.option_strings)} {meta}".strip()
    described = formatter._expand_help(action) if action.help else ""
    return f"| `{_cell(named)}` | {_plain(_cell(described))} |"


def _plain(text: str) -> str:
    """Text in which nothing is Markdown or a path of the machine that builds the pages."""
    root = checkout()
    text = text.replace(f"{root}/", "") if root else text
    return text.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
