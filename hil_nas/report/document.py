"""What all pages have in common: a template (`templates/`) becomes one file that stands alone, its style inside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hil_nas.units import format_bytes

CLOCKS = {
    "silicon": "cycles of the chip's own counter",
    "modelled": "cycles of a model fitted to published silicon, on the emulated board",
    "instructions": "executed instructions, which are no time",
}


_PAGE_SIZE = "{page size}"


def render(template: str, **shown: Any) -> str:
    """A whole HTML page. What is shown is escaped, but for `markupsafe.Markup`, as figures are.

    A template can say how large the page is: `page_size`.
    """
    page = _templates().get_template(template).render(page_size=_PAGE_SIZE, **shown)
    return page.replace(_PAGE_SIZE, format_bytes(len(page.encode())))


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("hil_nas.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def counts_of(clock: Mapping[str, Any]) -> str:
    """What the counts of a result's clock are, as part of a sentence."""
    kind, error_percent = clock["kind"], clock["error_percent"]
    rate = f", at {clock['hz'] / 1e6:g} MHz" if kind in ("silicon", "modelled") else ""
    within = "" if error_percent is None else f", and within {error_percent:g} % of silicon by the evidence"
    return f"{CLOCKS.get(kind, kind)}{rate}{within}"
