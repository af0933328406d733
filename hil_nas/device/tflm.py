"""Where TensorFlow Lite Micro stands: a user's own sources and library, since no registry has it for Cortex-M."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from hil_nas.errors import MissingToolError

LIBRARY = "libtensorflow-microlite.a"
SOURCE = "engine_tflm.cc"
_DOWNLOADS = Path("tensorflow", "lite", "micro", "tools", "make", "downloads")
_INCLUDES = (".", _DOWNLOADS / "flatbuffers" / "include", _DOWNLOADS / "gemmlowp", _DOWNLOADS / "ruy")
_HEADERS = ("tensorflow/lite/micro", "tensorflow/lite/core", "tensorflow/lite/c", "tensorflow/lite/schema")
# As TFLM's own build has them: the first changes the layout of its structures.
FLAGS = (
    "-DTF_LITE_STATIC_MEMORY", "-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
)  # fmt: skip


@dataclass(frozen=True)
class TflmBuild:
    """TFLM's sources, for their headers, and its library for one core."""

    root: Path
    library: Path

    def includes(self) -> tuple[str, ...]:
        """Compiler options for its headers and those that its own build downloads."""
        return tuple(f"-isystem{self.root / x}" for x in _INCLUDES)

    def digest(self) -> bytes:
        """Over the library and the headers whose content goes into our object; where they lie does not count."""
        headers = [x for folder in _HEADERS for x in sorted((self.root / folder).glob("*.h"))]
        digest = hashlib.sha256()
        for path in (self.library, *headers):
            digest.update(path.read_bytes())
        return digest.digest()


def find_tflm(core: str) -> TflmBuild:
    """TFLM_ROOT's sources, and TFLM_LIBRARY or the library where TFLM's own build puts it for a core.

    Args:
        core: as board.toml names it: `cortex-m4`.

    Raises:
        MissingToolError: where one is not there, with the command that makes it.
    """
    named = os.environ.get("TFLM_ROOT")
    if not named or not (Path(named) / "tensorflow" / "lite" / "micro" / "micro_interpreter.h").is_file():
        raise MissingToolError(
            f"no sources of TensorFlow Lite Micro in {named}" if named else "the engine tflm needs TFLM_ROOT",
            hint="clone https://github.com/tensorflow/tflite-micro and name its folder in TFLM_ROOT",
        )
    root = Path(named).resolve()
    given = os.environ.get("TFLM_LIBRARY")
    made = root.glob(f"gen/cortex_m_generic_{core}+fp_default*/lib/{LIBRARY}")
    library = Path(given).resolve() if given else max(made, key=lambda x: ("cmsis_nn" in str(x), str(x)), default=None)
    if library is None or not library.is_file():
        raise MissingToolError(
            f"no {LIBRARY} for {core} in {given or root / 'gen'}",
            hint=f"in {root}: make -f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic "
            f"TARGET_ARCH={core}+fp OPTIMIZED_KERNEL_DIR=cmsis_nn microlite",
        )
    return TflmBuild(root, library)
