"""The libraries that jobs need, and how each is installed; the extras of pyproject.toml, by job."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hil_nas.errors import MissingToolError
from hil_nas.folders import checkout


def pip_install(*extras: str) -> str:
    """The command that adds extras of this program to where it runs: to a checkout's own environment, if it is one."""
    root, names = checkout(), ",".join(extras)
    if root is None:
        return f"pip install 'hil_nas[{names}]'"
    python, here = Path(sys.executable), Path.cwd()
    if root == here:
        python, root = python.relative_to(root) if python.is_relative_to(root) else python, Path(".")
    return f"{shlex.quote(str(python))} -m pip install -e '{root}[{names}]'"


@dataclass(frozen=True)
class Library:
    """A library of this program.

    Attributes:
        module: as it is imported.
        distributions: what installs it, the usual one first.
        purpose: what it is for.
        extra: of this program, that brings it; empty where every installation has it.
    """

    module: str
    distributions: tuple[str, ...]
    purpose: str
    extra: str = ""

    @property
    def how(self) -> str:
        """The command that installs it."""
        return pip_install(self.extra) if self.extra else f"pip install {self.distributions[0]}"


LIBRARIES = (
    Library("numpy", ("numpy",), "everything"),
    Library("serial", ("pyserial",), "boards"),
    Library("unicorn", ("unicorn",), "hosts @virtual"),
    Library("capstone", ("capstone",), "hosts @virtual"),
    Library("sklearn", ("scikit-learn",), "latency models"),
    Library("tflite_micro", ("tflite-micro",), "verify: the oracle for bits"),
    Library("soundfile", ("soundfile",), "recordings"),
    Library("soxr", ("soxr",), "recordings at other rates"),
    Library("filelock", ("filelock",), "profile"),
    Library("jinja2", ("jinja2",), "reports"),
    Library("shtab", ("shtab",), "completion"),
    Library("torch", ("torch",), "search", "search"),
    Library("tensorflow", ("tensorflow-cpu", "tensorflow"), "search: conversion to .tflite", "search"),
    Library("ray", ("ray",), "sweep", "sweep"),
    Library("mlflow", ("mlflow-skinny", "mlflow"), "--mlflow: figures for a server", "mlflow"),
    Library("torchaudio", ("torchaudio",), "tests: parity of the front end", "audio"),
    Library("sounddevice", ("sounddevice",), "the microphone: listen, data record", "microphone"),
    Library("pyocd", ("pyocd",), "flashing", "flash"),
)


def require(job: str, extras: Iterable[str]) -> None:
    """Looks for all that a job imports before it begins: some of it would be missed hours later.

    Raises:
        MissingToolError: naming what is not installed, and the extras that bring it.
    """
    wanted = tuple(extras)
    missing = [x.module for x in LIBRARIES if x.extra in wanted and importlib.util.find_spec(x.module) is None]
    if missing:
        names = " and ".join(missing)
        raise MissingToolError(f"{job} needs {names}, not installed here", hint=pip_install(*wanted))


def missing_library(error: ModuleNotFoundError) -> MissingToolError | None:
    """The failed import of a library in words; None where it is no library of this program, but a bug."""
    name = (error.name or "").partition(".")[0]
    for library in LIBRARIES:
        if library.module == name:
            return MissingToolError(f"{name} is not installed, which is for: {library.purpose}", hint=library.how)
    return None
