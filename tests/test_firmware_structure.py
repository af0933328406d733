"""The architecture of the firmware, held by reading its includes."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def test_no_file_includes_itself_by_way_of_others(boards_dir: Path) -> None:
    """A header and the source of its name are one: what the source includes, whoever includes the header depends on."""
    files = [x for x in boards_dir.rglob("*.[ch]") if "export" not in x.parts]
    own = {x.name: x.stem for x in files}
    graph: dict[str, set[str]] = {}
    for path in files:
        names = {own[Path(x).name] for x in INCLUDE.findall(path.read_text()) if Path(x).name in own}
        graph.setdefault(path.stem, set()).update(names - {path.stem})
    assert len(list(TopologicalSorter(graph).static_order())) > 20  # raises CycleError
