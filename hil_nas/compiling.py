"""C for this machine and for boards: the tools, their first error in one line, and libraries that are built once."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hil_nas.errors import BuildError, InputError, MissingToolError
from hil_nas.files import whole_file


def find_tool(name: str) -> str:
    """A program's path.

    Raises:
        MissingToolError: where it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        package = "gcc-arm-none-eabi libnewlib-arm-none-eabi" if name.startswith("arm-none-eabi-") else name
        raise MissingToolError(f"'{name}' was not found", hint=f"apt install {package}")
    return path


def run_tool(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished program, with what it printed; in English, since errors are found by their words."""
    english = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=english)


def tool_version(program: str) -> str:
    """The first line of what it says of itself."""
    return run_tool([program, "--version"]).stdout.partition("\n")[0]


def build(command: Sequence[str], what: str, folder: Path | None = None) -> None:
    """Runs a compiler or linker.

    Raises:
        BuildError: where it fails: `what`, then its first error.
    """
    done = run_tool(command, folder)
    if done.returncode != 0:
        lines = [x for x in done.stderr.splitlines() if not x.startswith("collect2:")] or ["no message"]
        first = next((x for x in lines if "error:" in x or "undefined" in x), lines[0])
        raise BuildError(f"{what}: {first.strip()}", hint=f"the whole command: {shlex.join(command)}")


def shared_library(
    name: str,
    folder: Path,
    sources: Sequence[Path],
    headers: Iterable[Path],
    flags: Sequence[str],
    *,
    include: Iterable[Path] = (),
    compiler: str = "gcc",
) -> Path:
    """`folder/<name>-<hash>.so` for this machine, compiled unless it was before.

    The hash is of the sources, the headers, the flags and the compiler, and the file appears whole or not at all, so
    that processes may build at the same time.

    Raises:
        MissingToolError: where the compiler is not installed.
        BuildError: where it does not compile.
        InputError: where a source or header is missing.
        OutputError: where the folder cannot be written.
    """
    program = find_tool(compiler)
    digest = hashlib.sha256("\n".join((tool_version(program), *flags)).encode())
    for path in (*sources, *headers):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            hint = "give the project's boards folder"
            raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    library = folder / f"{name}-{digest.hexdigest()[:16]}.so"
    if not library.is_file():
        with whole_file(library) as partial:
            where = [f"-I{x}" for x in include]
            command = [program, *flags, *where, *map(str, sources), "-fPIC", "-shared", "-o", str(partial)]
            build(command, f"{name} does not compile")
    return library


def loaded(library: Path, what: str, declare: Callable[[ctypes.CDLL], None]) -> ctypes.CDLL:
    """A library that `shared_library` built, in this process.

    Args:
        what: it is, for messages.
        declare: gives its functions their types.

    Raises:
        InputError: where the file is not that library.
    """
    try:
        c = ctypes.CDLL(str(library))
        declare(c)
    except (OSError, AttributeError) as error:
        raise InputError(f"{library} is not {what}: {error}", hint="delete it and build it again") from error
    return c
