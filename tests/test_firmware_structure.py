"""The architecture of the firmware, held by reading its includes and by what its objects call."""

from __future__ import annotations

import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

from deploy_harness import PORTABLE

from hil_nas.device.firmware import find_third_party

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
FLAGS = ("-std=gnu11", *PORTABLE, '-DBOARD_NAME="x"', "-DBOARD_CPU_HZ=1u")


def test_no_file_includes_itself_by_way_of_others(boards_dir: Path) -> None:
    """A header and the source beside it are one: what the source includes, whoever includes the header depends on.

    The headers in include/ are seams: who implements them is chosen at link time.
    """
    files = [x for x in boards_dir.rglob("*.[ch]") if "export" not in x.parts]
    unit = {x.name: str(x.relative_to(boards_dir).with_suffix("")) for x in files if x.suffix == ".h"}
    graph: dict[str, set[str]] = {}
    for path in files:
        own = str(path.relative_to(boards_dir).with_suffix(""))
        included = {Path(x).name for x in INCLUDE.findall(path.read_text())}
        graph.setdefault(own, set()).update(unit[x] for x in included if x in unit and unit[x] != own)
    assert len(unit) == len({x for x in files if x.suffix == ".h"}), "two headers have one name"
    assert len(list(TopologicalSorter(graph).static_order())) > 40  # raises CycleError


def test_calls_go_downwards(boards_dir: Path, build_dir: Path, tmp_path: Path) -> None:
    """Between the sources that no board owns: whatever one defines and another uses, the linker would join."""
    folders = [boards_dir / "include", *sorted({x.parent for x in (boards_dir / "src").rglob("*.h")})]
    folders.append(find_third_party().cmsis_nn / "Include")
    includes = [f"-I{x}" for x in folders]
    sources = [x for x in sorted((boards_dir / "src").rglob("*.c")) if x.name != "identity.c"]
    subprocess.run(["gcc", *FLAGS, *includes, "-c", *map(str, sources)], cwd=tmp_path, check=True)
    defined: dict[str, str] = {}
    used: dict[str, set[str]] = {}
    for path in sources:
        listing = subprocess.run(
            ["nm", "-g", str(tmp_path / f"{path.stem}.o")], capture_output=True, text=True, check=True
        ).stdout
        symbols = [x.split()[-2:] for x in listing.splitlines()]
        defined |= {name: path.stem for kind, name in symbols if kind != "U"}
        used[path.stem] = {name for kind, name in symbols if kind == "U"}
    graph = {unit: {defined[x] for x in names if x in defined} for unit, names in used.items()}
    assert graph["main"] and not any("main" in x for x in graph.values())
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("engine") < order.index("main")
