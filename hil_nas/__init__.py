"""Hardware-in-the-loop, data-aware neural architecture search for keyword spotting on Cortex-M, from Python.

    import hil_nas

    limits = hil_nas.Budget(max_ram_bytes=128 * 1024, max_latency_s=0.05)
    found = hil_nas.search(hil_nas.SearchConfig(words=("lamp", "music"), budget=limits))
    checked = hil_nas.verify(found.model)

Each function runs what the command of its name runs, and raises what the command says in one line: a `HilNasError`.
Nothing is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil_nas.api import check_data as check_data
    from hil_nas.api import listen as listen
    from hil_nas.api import profile as profile
    from hil_nas.api import search as search
    from hil_nas.api import verify as verify
    from hil_nas.budget import Budget as Budget
    from hil_nas.config import SearchConfig as SearchConfig
    from hil_nas.errors import HilNasError as HilNasError
    from hil_nas.folders import Folders as Folders

_PLACES = {
    "Budget": "budget",
    "Folders": "folders",
    "HilNasError": "errors",
    "SearchConfig": "config",
    "check_data": "api",
    "listen": "api",
    "profile": "api",
    "search": "api",
    "verify": "api",
}
__all__ = list(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hil_nas' has no attribute {name!r}")
    value = getattr(import_module(f"hil_nas.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
