"""Where the program's own folders lie, whatever folder it is started in. Nothing else looks for them.

In a checkout, `boards/`, `latency_models/`, `zoo/` and `build/` stand beside the package. An installation carries the
first three inside the package, which is not written to: what is built lies in the user's cache, what is measured among
the user's data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Where a command finds and leaves things.

    Attributes:
        boards: read only.
        build: firmware, libraries of this machine, fetched sources, generated speech: can be made again.
        models: latency models; what is measured is written there.
        runs: a folder for each run.
        shipped_models: read where `models` has nothing of a board.
    """

    boards: Path
    build: Path
    models: Path
    runs: Path
    shipped_models: Path | None = None

    def absolute(self) -> Folders:
        """The same for processes that start in another folder."""
        return Folders(
            self.boards.resolve(), self.build.resolve(), self.models.resolve(), self.runs.resolve(),
            None if self.shipped_models is None else self.shipped_models.resolve(),
        )  # fmt: skip


def usual_folders() -> Folders:
    """Those of this checkout or installation; runs go where the program is started."""
    root, runs = checkout(), Path("runs")
    if root is not None:
        return Folders(root / "boards", root / "build", root / "latency_models", runs)
    package = _package()
    cache, data = _user("XDG_CACHE_HOME", ".cache"), _user("XDG_DATA_HOME", ".local/share")
    return Folders(package / "boards", cache, data / "latency_models", runs, package / "latency_models")


def zoo_folder() -> Path:
    """The networks that come with the program; read only."""
    return (checkout() or _package()) / "zoo"


def checkout() -> Path | None:
    """The checkout that the package is imported from, also by an editable installation; None for any other."""
    root = _package().parent
    return root if (root / "pyproject.toml").is_file() and (root / "boards").is_dir() else None


def _package() -> Path:
    return Path(str(resources.files("hil_nas")))


def _user(variable: str, usual: str) -> Path:
    """As the XDG base directory specification has it: a path that is not absolute does not count."""
    named = os.environ.get(variable, "")
    return (Path(named) if os.path.isabs(named) else Path.home() / usual) / "hil_nas"
