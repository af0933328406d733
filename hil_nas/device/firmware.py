"""The firmware's build: one source for every board, compiled only where something changed.

Objects and images lie in `build_dir/firmware`, their names hold a hash of all that goes into them, and each
appears whole or not at all, so that processes may build at the same time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hil_nas import kernels
from hil_nas.compiling import build, find_tool, run_tool, tool_version
from hil_nas.device import tflm
from hil_nas.device.boards import Board, load_board
from hil_nas.errors import InputError, MissingToolError
from hil_nas.files import whole_file, writing
from hil_nas.kernels.cmsis_nn import SOURCE_FOLDERS

Engine = Literal["plans", "tflm"]
USUAL_ENGINE: Engine = "plans"  # walks them by the lists of hil_nas/kernels
# What a measurement depends on, beside all kernels. These come first in the image, and `Firmware.kernels_id` is theirs.
MEASURED = (
    "engine.c", "lists.c", tflm.SOURCE, "front_end.c", "measure.c", "clock.c", "cortex_m7.c", "cycles.c",
)  # fmt: skip
FRONT_ENDS = "front_ends"  # the folder of their sources, all of which are measured
_C = "-std=gnu11"
_COMMON = (
    _C, "-ffp-contract=off", "-fno-math-errno", "-fno-common", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wundef", "-Wshadow", "-Wdouble-promotion", "-Wconversion")
_PORTABLE = ("-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict")  # CMSIS without intrinsics: any compiler, the same bits


@dataclass(frozen=True)
class ThirdParty:
    """Where CMSIS stands: CMSIS-NN with Include/ and Source/, CMSIS-Core with Include/."""

    cmsis_nn: Path
    cmsis_core: Path


@dataclass(frozen=True)
class Firmware:
    """A linked image.

    Attributes:
        elf: an executable for the board; for `native` a program of this machine.
        build_id: 16 hex digits over everything in the image; the device answers it to `hil id`.
        kernels_id: the same over what is measured only.
        text_bytes, data_bytes, bss_bytes: code and constants, initialised and zeroed data; no stack, no pool.
        pool_bytes: RAM for what is uploaded and for the arena.
        flags: what every source was compiled with.
        compiler: its first line about itself.
    """

    elf: Path
    build_id: str
    kernels_id: str
    text_bytes: int
    data_bytes: int
    bss_bytes: int
    pool_bytes: int
    flags: str
    compiler: str


@dataclass(frozen=True)
class Unit:
    """One source with the flags it is compiled with."""

    source: Path
    flags: tuple[str, ...]
    measured: bool


def find_third_party() -> ThirdParty:
    """CMSIS-NN as bakenn's wheel carries it; CMSIS_NN_ROOT names a user's own, CMSIS_CORE_ROOT the folder with
    CMSIS-Core's Include.

    Raises:
        MissingToolError: where one is not there.
    """
    spec = importlib.util.find_spec("bakenn")
    wheel = Path(next(iter(spec.submodule_search_locations or ["."]))) if spec else Path("bakenn")
    vendor = wheel / "backend" / "cmsis_nn" / "vendor"
    sources = ThirdParty(
        cmsis_nn=Path(os.environ.get("CMSIS_NN_ROOT") or vendor / "cmsis_nn"),
        cmsis_core=Path(os.environ.get("CMSIS_CORE_ROOT") or vendor / "cmsis_core"),
    )
    for name, path in asdict(sources).items():
        if not (path / "Include").is_dir():
            variable = f"{name.upper()}_ROOT"
            hint = f"pip install bakenn, or name a checkout in {variable}"
            if os.environ.get(variable):
                hint = f"{variable} names it: name a folder with Include and Source"
            raise MissingToolError(f"{name.upper().replace('_', '-')} was not found in {path}", hint=hint)
    return sources


def build_firmware(
    board_name: str,
    boards_dir: Path,
    build_dir: Path,
    third_party: ThirdParty,
    extra_flags: Sequence[str] = (),
    engine: Engine = USUAL_ENGINE,
) -> Firmware:
    """Compile and link the firmware of a board, unless the same image is there already.

    Args:
        extra_flags: for every compilation and the link, such as sanitizers.
        engine: what runs networks; `tflm` takes TensorFlow Lite Micro from where `find_tflm` finds it.

    Raises:
        MissingToolError: where the board's compiler is not installed.
        BuildError: where a source does not compile or the image does not link; with the first error.
        InputError: for an unknown board or a missing source.
    """
    board = load_board(board_name, boards_dir)
    if engine == "tflm" and board.core == "host":
        raise InputError(f"board '{board.name}' has no engine tflm", hint="choose a board with a Cortex-M")
    tflm_build = tflm.find_tflm(board.core) if engine == "tflm" else None
    return _Build(board, boards_dir, build_dir / "firmware", third_party, tuple(extra_flags), tflm_build).run()


class _Build:
    """One image: what goes into it, its ids, its objects, the link."""

    def __init__(
        self,
        board: Board,
        boards_dir: Path,
        out: Path,
        third_party: ThirdParty,
        extra_flags: tuple[str, ...],
        engine: tflm.TflmBuild | None,
    ) -> None:
        self.board, self.boards_dir, self.out, self.third_party = board, boards_dir, out, third_party
        self.tflm, self.tflm_digest = engine, engine.digest() if engine else b""
        self.native = board.core == "host"
        self.compiler = find_tool(board.build.compiler)
        self.version = tool_version(self.compiler)
        self.flags = (*board.build.flags, *_COMMON, *extra_flags)
        self.lists = () if engine else tuple(x.name for x in kernels.LISTS)
        self.units = self._units()
        self.scripts = [] if self.native else [*sorted((boards_dir / "cortex_m").glob("*.ld")), self._linker_script()]
        self.folders = ("include", "src", "cortex_m", board.name)
        self.build_id = self._id(self.units, self.folders)
        of_kernels = [f"src/kernels/{x}" for x in self.lists]
        self.kernels_id = self._id([x for x in self.units if x.measured], ("include", f"src/{FRONT_ENDS}", *of_kernels))

    def run(self) -> Firmware:
        with writing(self.out):
            (self.out / "objects").mkdir(parents=True, exist_ok=True)
        record = self.out / f"{self.board.name}-{self.build_id}.json"
        elf = record.with_suffix(".elf")
        if not (record.is_file() and elf.is_file()):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = list(pool.map(self._compile, [*self.units, self._identity()]))
            self._link(objects, elf)
            with whole_file(record) as partial:
                partial.write_text(json.dumps(self._sizes(elf)))
        sizes = json.loads(record.read_text(encoding="utf-8"))
        flags = shlex.join(self.flags)
        return Firmware(elf, self.build_id, self.kernels_id, **sizes, flags=flags, compiler=self.version)

    def _units(self) -> list[Unit]:
        """Every source but identity.c, what is measured first: the linker keeps this order."""
        source, folder = self.boards_dir / "src", self.boards_dir / self.board.name
        engine = [source / tflm.SOURCE] if self.tflm else sorted((source / "engine").glob("*.c"))
        listed = [x for y in self.lists for x in sorted((source / "kernels" / y).glob("*.c"))]
        front_ends = sorted((source / FRONT_ENDS).glob("*.c"))
        own = [*engine, *listed, *front_ends, *(x for x in sorted(source.glob("*.c")) if x.name != "identity.c")]
        own += sorted((source / "listen").glob("*.c"))
        own += [(folder / x).resolve() for x in self.board.build.sources]
        measured = [x for x in own if x.name in MEASURED or x in (*listed, *front_ends)]
        others = [x for x in own if x not in measured]
        quiet = ("-w", *self._aligned())
        units = [Unit(x, (*_WARNINGS, *self._aligned(), *self._own_flags(x)), True) for x in measured]
        units += [Unit(x, (*quiet, *self._nn_flags()), True) for x in self._third_party_sources()]
        units += [Unit(x, (*_WARNINGS, *self._own_flags(x)), False) for x in others]
        missing = [x.source for x in units if not x.source.is_file()]
        if missing:
            raise InputError(f"{missing[0]} is missing", hint="check board.toml's sources and the paths to CMSIS")
        return units

    def _third_party_sources(self) -> list[Path]:
        folders = () if self.tflm else SOURCE_FOLDERS  # TFLM's library has its own
        return [x for y in folders for x in sorted((self.third_party.cmsis_nn / "Source" / y).glob("*.c"))]

    def _identity(self) -> Unit:
        texts = {"BUILD_ID": self.build_id, "KERNELS_ID": self.kernels_id, "VERSIONS": self._versions()}
        flags = [f'-DHIL_{name}="{text}"' for name, text in texts.items()]
        return Unit(self.boards_dir / "src" / "identity.c", (*_WARNINGS, *flags), False)

    def _aligned(self) -> tuple[str, ...]:
        """Measured functions begin at lines of the flash cache, so that one's size does not move the next's lines."""
        return () if self.native else ("-falign-functions=32",)

    def _nn_flags(self) -> tuple[str, ...]:
        include = f"-isystem{self.third_party.cmsis_nn / 'Include'}"
        if self.native:
            return (include, *_PORTABLE)
        return (include, f"-isystem{self.third_party.cmsis_core / 'Include'}")

    def _own_flags(self, source: Path) -> tuple[str, ...]:
        board, memory = self.board, self.board.memory
        common = (
            f"-I{self.boards_dir / 'include'}", f'-DBOARD_NAME="{board.name}"', f"-DBOARD_CPU_HZ={board.cpu_hz}u",
            f"-DBOARD_BAUD={board.uart.baud}u", f"-DBOARD_RAM_BYTES={memory.ram_bytes}u",
            f"-DBOARD_FLASH_BYTES={memory.flash_bytes}u",
        )  # fmt: skip
        if self.tflm and source.name == tflm.SOURCE:
            return (*common, *tflm.FLAGS, *self.tflm.includes())
        if source.name == "lists.c":
            lists = " ".join(f"LIST({x})" for x in self.lists)
            return (*common, f"-DKERNEL_LISTS={lists}", f'-DENGINE_NAME="{USUAL_ENGINE}"')
        return (*common, *self._nn_flags())

    def _headers(self, folders: Sequence[str]) -> list[Path]:
        own = [self.boards_dir / x for x in folders]
        return [x for y in (*own, *asdict(self.third_party).values()) for x in sorted(y.rglob("*.h"))]

    def _linker_script(self) -> Path:
        if self.board.build.linker_script is None:
            raise InputError(f"board.toml of {self.board.name} names no linker_script")
        return self.boards_dir / self.board.name / self.board.build.linker_script

    def _id(self, units: Iterable[Unit], header_folders: Sequence[str]) -> str:
        """The same on every machine: where the folders are does not count, only what stands in them."""
        digest = hashlib.sha256(f"{self.version}\n{self.flags}\n{self.board.timing}\n".encode())
        for path in self._cycle_model():
            digest.update(path.read_bytes())
        for unit in units:
            plain = [x for x in unit.flags if not x.startswith(("-I", "-isystem"))]
            digest.update(f"{unit.source.name} {plain}\n".encode())
            digest.update(unit.source.read_bytes())
        for path in (*self._headers(header_folders), *self.scripts):
            digest.update(path.read_bytes())
        digest.update(self.tflm_digest)
        return digest.hexdigest()[:16]

    def _cycle_model(self) -> list[Path]:
        """What counts the cycles of a virtual board: measurements depend on it as on the penalties."""
        return sorted((self.boards_dir / "virtual").glob("*.[ch]")) if self.board.timing is not None else []

    def _versions(self) -> str:
        match = re.search(r"\d+\.\d+\.\d+", self.version)
        nn = _version(self.third_party.cmsis_nn, "BAKENN_PROVENANCE.md", r"Release version: (\S+)")
        kernels = f"tflm of library {self.tflm_digest.hex()[:8]}" if self.tflm else f"cmsis-nn {nn}"
        return f"{kernels};gcc {match.group() if match else 'unknown'}"

    def _compile(self, unit: Unit) -> Path:
        """The object of a unit; the linker script knows the measured ones by their first letters."""
        key = self._id([unit], () if "-w" in unit.flags else self.folders)
        prefix = "k" if unit.measured else "o"
        path = self.out / "objects" / f"{prefix}_{unit.source.stem}-{self.board.name}-{key}.o"
        if not path.is_file():
            with whole_file(path) as partial:
                command = [*self._compiler_for(unit), *unit.flags, "-c", str(unit.source), "-o", str(partial)]
                build(command, f"{unit.source} does not compile")
        return path

    def _compiler_for(self, unit: Unit) -> list[str]:
        if unit.source.suffix == ".c":
            return [self.compiler, *self.flags]
        return [find_tool(re.sub("gcc$", "g++", self.board.build.compiler)), *(x for x in self.flags if x != _C)]

    def _link(self, objects: list[Path], elf: Path) -> None:
        script: list[str] = []
        if not self.native:
            memory = self.board.memory
            script = [
                "-nostartfiles", f"-T{self._linker_script().resolve()}",
                f"-L{(self.boards_dir / 'cortex_m').resolve()}",
                f"-Wl,--defsym=BOARD_RAM_BYTES={memory.ram_bytes}",
                f"-Wl,--defsym=BOARD_FLASH_BYTES={memory.flash_bytes}", "-Wl,--no-warn-rwx-segments",
            ]  # fmt: skip
        with whole_file(elf) as partial:
            # By relative names: a folder named like libc's memcpy object would match the linker script's patterns.
            names = [str(x.relative_to(self.out)) for x in objects]
            options = [*self.flags, *script, "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--fatal-warnings"]
            libraries = [str(self.tflm.library), "-lm"] if self.tflm else []
            command = [self.compiler, *options, *names, *libraries, "-o", str(partial.resolve())]
            build(command, f"the firmware of {self.board.name} does not link", self.out)
            partial.chmod(0o755)

    def _sizes(self, elf: Path) -> dict[str, int]:
        """Sizes and addresses of the sections, as the compiler's own `size` says them."""
        tool = find_tool(re.sub(r"gcc$|clang$", "size", self.board.build.compiler))
        rows = [x.split() for x in run_tool([tool, "-A", "-d", str(elf)]).stdout.splitlines()]
        size = {x[0]: int(x[1]) for x in rows if len(x) == 3 and x[1].isdigit()}
        address = {x[0]: int(x[2]) for x in rows if len(x) == 3 and x[2].isdigit()}
        text = sum(size.get(x, 0) for x in (".text", ".rodata", ".ARM.exidx", ".eh_frame"))
        pool = self.board.memory.ram_bytes
        if not self.native:  # the stack is the first thing in RAM, the pool all that is left behind .bss
            pool -= -(-(address[".bss"] + size[".bss"] - address[".stack"]) // 16) * 16
        return {"text_bytes": text, "data_bytes": size[".data"], "bss_bytes": size[".bss"], "pool_bytes": pool}


def _version(folder: Path, file: str, pattern: str) -> str:
    """A release's version, for a user's own checkout a hash of its headers."""
    path = folder / file
    match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    if match:
        return match.group(1)
    headers = b"".join(x.read_bytes() for x in sorted((folder / "Include").rglob("*.h")))
    return f"of headers {hashlib.sha256(headers).hexdigest()[:8]}"
