"""What people write, as values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(found: str, known: Iterable[str], what: str) -> str:
    """A hint for an unknown name: what it was probably meant to be, else all that is known."""
    names = tuple(known)
    close = difflib.get_close_matches(found, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known {what}: {', '.join(names) or 'none'}"
