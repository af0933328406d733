"""What is installed and attached here, in which version, which hosts can run with it, and how to get the rest."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from hil_nas.device.boards import Board, board_names, load_board
from hil_nas.device.firmware import find_third_party
from hil_nas.device.hosts import CLOCK_KINDS
from hil_nas.device.hosts.emulator import RENODE_OLDEST
from hil_nas.device.hosts.process import is_older, program_version
from hil_nas.device.ports import UsbPort, usb_ports
from hil_nas.device.tflm import find_tflm
from hil_nas.errors import MissingToolError
from hil_nas.extras import LIBRARIES, Library
from hil_nas.target import BoardTarget

Group = Literal["tool", "library", "source"]
_RENODE = "Renode 1.16 or later: https://github.com/renode/renode/releases, its folder on PATH"
_TOOLS = (  # program, what for, how to get it
    ("arm-none-eabi-gcc", "firmware", "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    ("gcc", "native firmware, front end of the host", "apt-get install gcc libc6-dev"),
    ("make", "exports", "apt-get install make"),
    ("qemu-system-arm", "hosts @qemu", "apt-get install qemu-system-arm"),
    ("renode", "hosts @renode", _RENODE),
    ("espeak-ng", "search without recordings", "apt-get install espeak-ng"),
    ("clang", "tests: fuzzing", "apt-get install clang libclang-rt-dev"),
)
_NEEDS = {  # what a host needs beside the compiler and the sources of its firmware
    "serial": (),
    "virtual": ("unicorn", "capstone", "gcc"),
    "renode": ("renode",),
    "qemu": ("qemu-system-arm",),
    "native": (),
}


@dataclass(frozen=True)
class Part:
    """Something that is installed, or is not.

    Attributes:
        version: None where it is missing, empty where it does not say.
        where: its path, for tools and sources.
        how: what to do about it where it is missing or too old, else empty.
    """

    group: Group
    name: str
    purpose: str
    version: str | None
    where: str = ""
    how: str = ""

    @property
    def ready(self) -> bool:
        return not self.how


@dataclass(frozen=True)
class HostState:
    """Whether a board's firmware can run on one of its hosts.

    Attributes:
        counts: what a cycle count is there: silicon, modelled, instructions or host.
        missing: names of parts, or `its USB port`; empty where it can.
    """

    target: str
    counts: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `hil_nas doctor` shows."""

    hosts: tuple[HostState, ...]
    parts: tuple[Part, ...]
    ports: tuple[UsbPort, ...]

    def to_json(self) -> dict[str, Any]:
        parts = [{**asdict(x), "ready": x.ready} for x in self.parts]
        return {"hosts": [asdict(x) for x in self.hosts], "parts": parts, "ports": [asdict(x) for x in self.ports]}


def examine(boards_dir: Path) -> Diagnosis:
    """Looks at this machine; installs, builds and changes nothing.

    Raises:
        InputError: for a board.toml that cannot be read.
    """
    parts = (*map(_tool_part, _TOOLS), *map(_library_part, LIBRARIES), _cmsis(), _tflm())
    ports = usb_ports(boards_dir)
    ready = {x.name for x in parts if x.ready}
    boards = [load_board(x, boards_dir) for x in board_names(boards_dir)]
    hosts = [_host(x, BoardTarget.parse(f"{x.name}@{y}"), ready, ports) for x in boards for y in x.hosts]
    return Diagnosis(tuple(hosts), parts, ports)


def _host(board: Board, target: BoardTarget, ready: set[str], ports: tuple[UsbPort, ...]) -> HostState:
    needs = (board.build.compiler, "CMSIS-NN", *_NEEDS[target.host])
    missing = [x for x in dict.fromkeys(needs) if x not in ready]
    if target.host == "serial" and not any(board.name in x.boards for x in ports):
        missing.append("its USB port")
    return HostState(str(target), CLOCK_KINDS[target.host], tuple(missing))


def _tool_part(row: tuple[str, str, str]) -> Part:
    name, purpose, how = row
    path = shutil.which(name)
    if path is None:
        return Part("tool", name, purpose, None, how=how)
    version = program_version(path)
    old = name == "renode" and is_older(version, RENODE_OLDEST)
    return Part("tool", name, purpose, version, path, how if old else "")


def _library_part(library: Library) -> Part:
    for name in library.distributions:
        try:
            return Part("library", name, library.purpose, metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return Part("library", library.distributions[0], library.purpose, None, how=library.how)


def _cmsis() -> Part:
    name, purpose = "CMSIS-NN", "firmware"
    try:
        sources = find_third_party()
    except MissingToolError as error:
        return Part("source", name, purpose, None, how=f"{error.message}: {error.hint}")
    version = _word(sources.cmsis_nn / "BAKENN_PROVENANCE.md", r"Release version: (\S+)")
    return Part("source", name, purpose, version, str(sources.cmsis_nn))


def _tflm() -> Part:
    name, purpose = "TensorFlow Lite Micro", "the engine tflm"
    try:
        build = find_tflm("cortex-m4")
    except MissingToolError as error:
        return Part("source", name, purpose, None, how=f"{error.message}: {error.hint}")
    return Part("source", name, purpose, "", f"{build.root}, {build.library}")


def _word(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    return match.group(1) if match else "of your own"
