"""The run folder: how one execution was configured, what it ran on, what it measured.

runs/<utc>-<command>-<name>/
    config.json        the command and its resolved configuration: a resumed run is found by it, whatever its folder is
    environment.json   when it was begun, versions, git revision, machine
    metrics.jsonl      one JSON object per epoch or step
    ...                what the command makes
    result.json        schema, version, status: written last, atomically; a folder without it is incomplete
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from hil_nas.errors import RunError
from hil_nas.files import append, write_atomically, writing
from hil_nas.folders import checkout
from hil_nas.holds import Hold, hold

SCHEMA = "hil_nas.run"
VERSION = 2
_PACKAGES = ("hil_nas", "numpy", "torch", "tensorflow-cpu", "tflite-micro", "scikit-learn", "unicorn", "bakenn", "ray")


class Follower(Protocol):
    """What hears of the runs that are written, as a tracker does."""

    def grown(self, run: Run) -> None:
        """After a line of metrics.jsonl, after result.json, and where a run that holds some is gone on with."""


_followers: ContextVar[tuple[Follower, ...]] = ContextVar("followers", default=())


@contextmanager
def followed_by(*followers: Follower) -> Iterator[None]:
    """Has these hear of every run that is written within; what writes the runs need not know of them."""
    token = _followers.set(followers)
    try:
        yield
    finally:
        _followers.reset(token)


class Run:
    """A run folder that is being written; one that was created or is gone on with is held against other processes until
    it is finished, or until nothing refers to the run."""

    def __init__(self, folder: Path, held: Hold | None = None) -> None:
        self.folder, self._held = folder, held

    @classmethod
    def create(cls, runs_dir: Path, command: str, name: str, config: dict[str, Any]) -> Run:
        """Makes `runs/<utc>-<command>-<name>/` with its configuration and environment; a second one of the same second
        ends in `-2`.

        Raises:
            OutputError: where the folder cannot be made or written.
        """
        run = cls(_new_folder(runs_dir, command, name))
        run._held = hold(run.folder)
        try:
            run.write_json("config.json", {"command": command, **config})
            run.write_json("environment.json", {"started": datetime.now(UTC).isoformat(), **environment()})
        except BaseException:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise
        return run

    @classmethod
    def resume(cls, runs_dir: Path, command: str, config: dict[str, Any]) -> Run:
        """The newest incomplete run of this command with exactly this configuration.

        Raises:
            RunError: where there is none, and the message says how the newest incomplete one differs; or where another
                process is at work in it.
        """
        wanted = _plain({"command": command, **config})
        incomplete = _incomplete(runs_dir, command)
        for folder, saved in incomplete:
            if saved == wanted:
                run = cls(folder, _taken(folder))
                if not run.path("result.json").exists():  # another process may have finished it by now
                    return run._gone_on_with()
        if not incomplete:
            raise RunError(f"no incomplete {command} run in {runs_dir}", hint="leave out --resume")
        newest, saved = incomplete[0]
        changed = [k for k in {**saved, **wanted} if saved.get(k) != wanted.get(k)]
        raise RunError(
            f"{newest.name} is of another configuration: "
            + ", ".join(f"{k} was {saved.get(k)!r}, is {wanted.get(k)!r}" for k in changed[:4]),
            hint="give the options of that run, or leave out --resume",
        )

    def part(self, name: str, command: str, config: dict[str, Any]) -> Run:
        """The run folder of this name within this one; one that stands there is gone on with."""
        part = Run(self.path(name))
        if part.path("environment.json").exists():
            return Run(part.folder, _taken(part.folder))._gone_on_with()
        with writing(part.folder):
            part.folder.mkdir(exist_ok=True)
        part._held = hold(part.folder)
        part.write_json("config.json", {"command": command, **config})
        part.write_json("environment.json", {"started": datetime.now(UTC).isoformat(), **environment()})
        return part

    def _gone_on_with(self) -> Run:
        _cut_unfinished_line(self.path("metrics.jsonl"))
        self._grown()
        return self

    def _grown(self) -> None:
        for follower in _followers.get():
            follower.grown(self)

    @property
    def name(self) -> str:
        return self.folder.name

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def revision(self) -> str | None:
        """Of this program when the run was begun; None where it was no checkout."""
        revision: str | None = read_json(self.path("environment.json")).get("git")
        return revision

    def log(self, values: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl."""
        append(self.path("metrics.jsonl"), (json.dumps(_plain(values)) + "\n").encode())
        self._grown()

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one for each phase and epoch, or for each point of a sweep.

        What was run again after a kill counts once.
        """
        lines = self.path("metrics.jsonl").read_text().splitlines() if self.path("metrics.jsonl").exists() else []
        try:
            entries = [json.loads(x) for x in lines]
        except ValueError as error:
            raise RunError(f"{self.path('metrics.jsonl')} is damaged: {error}", hint="remove that run folder") from None
        return list({(x.get("point"), x.get("phase"), x.get("epoch")): x for x in entries}.values())

    def write_json(self, name: str, data: Any) -> None:
        write_atomically(self.path(name), (json.dumps(_plain(data), indent=2) + "\n").encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        write_atomically(self.path(name), data)

    def finish(self, status: str, result: dict[str, Any]) -> dict[str, Any]:
        """Writes result.json, the last file of a run."""
        whole = {"schema": SCHEMA, "version": VERSION, "status": status, **_plain(result)}
        self.write_json("result.json", whole)
        self._held = None
        self._grown()
        return whole


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run.

    Raises:
        RunError: for an incomplete run, or one of another schema or version.
    """
    path = folder / "result.json"
    if not path.is_file():
        if not (folder / "config.json").is_file():
            raise RunError(f"{folder} is no run folder", hint="`hil_nas runs` lists those there are")
        raise RunError(f"{folder} holds no result.json, so the run is incomplete", hint="finish it with --resume")
    result = read_json(path)
    written = (result.get("schema"), result.get("version"))
    if written != (SCHEMA, VERSION):
        raise RunError(f"{path} is {written[0]} version {written[1]}, expected {SCHEMA} version {VERSION}")
    return result


def environment() -> dict[str, Any]:
    """What this program runs on: versions, revision, machine."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "argv": sys.argv[1:],
        "git": _git_revision(),
        "packages": dict(_versions(_PACKAGES)),
    }


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _git_revision() -> str | None:
    """Of the checkout that this program runs from; the folder it was started in may be another project's."""
    root = checkout()
    if root is None:
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _new_folder(runs_dir: Path, command: str, name: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    plain = f"{stamp}-{command}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
    with writing(runs_dir):
        runs_dir.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = runs_dir / (plain if number == 1 else f"{plain}-{number}")
        with writing(folder), suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("the loop returns or raises")


def _incomplete(runs_dir: Path, command: str) -> list[tuple[Path, dict[str, Any]]]:
    """Runs of a command that have no result, with their configurations, newest first.

    What cannot be read is no run that could be gone on with, and stands in no other's way.
    """
    runs: list[tuple[str, Path, dict[str, Any]]] = []
    for path in sorted(runs_dir.glob("*/config.json")):
        try:
            config, environment = read_json(path), read_json(path.with_name("environment.json"))
        except RunError:
            continue
        if config.get("command") == command and not path.with_name("result.json").exists():
            runs.append((str(environment.get("started")), path.parent, config))
    runs.sort(key=lambda x: (x[0], len(x[1].name), x[1].name), reverse=True)  # of one moment: the higher number
    return [(folder, config) for _, folder, config in runs]


def _taken(folder: Path) -> Hold:
    """
    Raises:
        RunError: where another process is at work in the folder.
    """
    with writing(folder):
        mark = hold(folder)
    if mark is None:
        raise RunError(f"another process is at work in {folder}", hint="wait until it is done, or end it")
    return mark


def read_json(path: Path) -> dict[str, Any]:
    """A file of a run folder.

    Raises:
        RunError: where it is missing, or no object of JSON.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}", hint="remove that run folder") from None
    if not isinstance(data, dict):
        raise RunError(f"{path} is damaged: expected an object", hint="remove that run folder")
    return data


def _cut_unfinished_line(path: Path) -> None:
    """Drops what a kill left of a last line, so that the next one begins on its own."""
    if path.exists():
        data = path.read_bytes()
        write_atomically(path, data[: data.rfind(b"\n") + 1])


def _plain(data: Any) -> Any:
    """The data as JSON gives it back: tuples as lists, paths as text.

    Raises:
        ValueError: for a number that JSON does not have; callers write null where a value may not be finite.
    """
    return json.loads(json.dumps(data, default=str, allow_nan=False))
