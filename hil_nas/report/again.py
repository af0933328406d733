"""A run's page made again from what its folder holds: nothing is trained, no board is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hil_nas.errors import InputError, RunError
from hil_nas.files import write_atomically
from hil_nas.latency.summary import summarise
from hil_nas.report.page import search_page
from hil_nas.report.profile_page import profile_page
from hil_nas.report.sweep_page import sweep_page
from hil_nas.report.tune_page import tune_page
from hil_nas.runs import read_json, read_result


def write_page(folder: Path) -> Path:
    """Writes `report.html` of a finished run anew, and returns its path.

    Raises:
        RunError: for a run that is incomplete or damaged, or whose folder does not keep what its page shows.
        OutputError: where it cannot be written.
    """
    result, command = read_result(folder), str(read_json(folder / "config.json").get("command"))
    if "points" in result:  # a sweep, or a search with several limits
        page = sweep_page(result)
    elif command in ("search", "baseline"):
        page = search_page(folder, result)
    elif command == "profile":
        page = _profile_page(result)
    elif command == "tune" and "keywords" in result["curve"][0]:  # tunings before that was kept have none
        page = tune_page(result)
    else:
        raise RunError(
            f"{folder} is a run of {command}, which does not keep what its page shows",
            hint="a page is made again of a search, baseline, sweep, profile or tune",
        )
    path = folder / "report.html"
    write_atomically(path, page.encode())
    return path


def _profile_page(result: dict[str, Any]) -> str:
    """Of the rows that the profile left in its folder of measurements; refitted, which takes some seconds."""
    rows = Path(result["folder"])
    try:
        summary = summarise(rows)
    except InputError as error:
        raise RunError(f"the measurements of this profile are gone: {error.message}", hint=error.hint) from None
    if summary.networks != result["networks"]:
        raise RunError(
            f"{rows} holds {summary.networks} networks by now, this profile's page was of {result['networks']}",
            hint="its page stays as it is; `hil_nas profile` makes one of all rows",
        )
    return profile_page(result, summary)
