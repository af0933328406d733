"""Writes `zoo/` wholly anew: `python -m tests.gather_zoo RUN...` gathers what finished searches left.

A RUN is the folder of a search, of one with several limits, of a sweep, or one that holds such. Of those on Speech
Commands' ten words that held their limits, the zoo keeps the front of accuracy against cycles for each board and
clock, clips and every period of a stream apart: chosen by validation accuracy, so that the test accuracy that it shows
is of clips that chose nothing.

No file says where anything lay on this machine: configuration and command name their recordings by the folder's name,
and what holds a path all the same is refused. Clips of others' recordings are left out, and with them their licence.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.audio.layout import SILENCE, UNKNOWN
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_front_end
from hil_nas.errors import HilNasError, InputError
from hil_nas.folders import usual_folders, zoo_folder
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.runs import read_json, read_result
from hil_nas.words import TEN_WORDS
from hil_nas.workflows.sweep_front import front
from hil_nas.workflows.zoo import INDEX, KEPT, SCHEMA, VERSION, digest, made_again

LABELS = [*TEN_WORDS, SILENCE, UNKNOWN]
RECORDINGS = ("--data", "--negatives")
PLACES = ("--runs", "--name", "--boards", "--build", "--models", "--port")  # which change nothing that is found
SWITCHES = ("--json", "--resume", "--flash")
PATH = re.compile(r"(?<![\w.<>/])~?/[A-Za-z_]")  # a front end has `/` behind a digit, a step before one
ROOT = re.compile(rb"/(?:home|root|opt|work|tmp|mnt|srv|usr|var|data|media|private|Users)/")


@dataclass(frozen=True)
class Candidate:
    """A finished search.

    Attributes:
        files: by name, as the zoo keeps them.
        answers: the SHA-256 of TFLM's answers to `clips`.
    """

    folder: Path
    result: dict[str, Any]
    files: dict[str, bytes]
    answers: str

    @property
    def count(self) -> int:
        measured = self.result["measured"]
        return int(measured["front_end_cycles"] + measured["network_cycles"])

    @property
    def name(self) -> str:
        way, latency_ms = "stream" if "listen" in self.result else "clip", self.result["measured"]["latency_ms"]
        return f"{way}-{self.count / 1e6:.2f}M" if latency_ms is None else f"{way}-{latency_ms:.2f}ms"

    @property
    def beside(self) -> tuple[Any, ...]:
        """What it shares with those that it compares with."""
        return self.result["board"], self.result["clock"]["kind"], self.result.get("listen", {}).get("period_ms")


def gather(runs: Sequence[Path], zoo: Path) -> list[str]:
    """Writes the zoo and returns the names of its networks; nothing is written where a run is refused.

    Raises:
        InputError: for a folder without finished searches, for one on other words, for a run that names a place of
            this machine, and where two networks get one name.
    """
    found = [_candidate(x) for y in runs for x in _searches(y)]
    kept = _front([x for x in found if x.result["status"] == "complete"])
    if len({x.name for x in kept}) < len(kept):
        raise InputError(f"two networks would have one name: {', '.join(sorted(x.name for x in kept))}")
    zoo.mkdir(exist_ok=True)
    for old in [x for x in zoo.iterdir() if x.is_dir()]:
        shutil.rmtree(old)
    for network in kept:
        (zoo / network.name).mkdir()
        for name, data in network.files.items():
            (zoo / network.name / name).write_bytes(data)
    networks = {
        x.name: {"files": {name: digest(data) for name, data in x.files.items()}, "answers": x.answers} for x in kept
    }
    (zoo / INDEX).write_bytes(_json({"schema": SCHEMA, "version": VERSION, "networks": networks}))
    return [x.name for x in kept]


def clips(front_end: FrontEnd) -> NDArray[np.int16]:
    """int16 (12, samples): saw teeth of several pitches that come and go, with noise; whole numbers alone, so that
    every machine makes the same."""
    samples, made = front_end.clip.samples, []
    state, at = 1, np.arange(front_end.clip.samples, dtype=np.int64)
    noise = np.empty(samples, np.int64)
    for i in range(samples):
        state = (state * 1664525 + 1013904223) % 2**32
        noise[i] = (state >> 18) - 8192
    for number in range(12):
        pitch = 20 + 17 * number + at * number // 2000  # samples of a tooth, longer as it goes on
        swell = np.abs((at * (1 + number % 4) // 32) % 512 - 256)
        made.append((at % pitch * 16_000 // pitch - 8_000) * swell // 256 + noise // (4 << number % 5))
    return np.stack(made).clip(-32768, 32767).astype(np.int16)


def heard(model: bytes) -> NDArray[np.int8]:
    """int8 features of `clips` (n, *input of the model), by the device's front end."""
    front_end, tflm, folders = read_front_end(model), Tflm(model), usual_folders()
    assert front_end is not None
    host = HostFrontEnd(build_host_library(folders.boards, folders.build))
    blob = front_end.blob(tflm.input_scale, tflm.input_zero_point)
    return host.features(blob, clips(front_end)).reshape(-1, *tflm.input_shape)


def names_a_place(name: str, data: bytes) -> bool:
    """Whether a file of an entry names a file or folder of a machine by its whole path."""
    if name.endswith(".tflite"):  # of which every other byte can be anything
        return ROOT.search(data) is not None
    return PATH.search(data.decode()) is not None


def _searches(folder: Path) -> Iterator[Path]:
    """The folders of finished searches and baselines in this one, itself included."""
    found = [x.parent for x in sorted(folder.rglob("result.json")) if "measured" in read_result(x.parent)]
    if not found:
        raise InputError(f"{folder} holds no finished search", hint="name run folders, or a folder of them")
    yield from found


def _candidate(folder: Path) -> Candidate:
    result, files = read_result(folder), {x: (folder / x).read_bytes() for x in KEPT}
    if result["labels"] != LABELS or result["data"]["name"] != "speech_commands":
        raise InputError(f"{folder} learnt {', '.join(result['labels'])}, expected Speech Commands' ten words")
    for name, data in made_again(files["model.tflite"], result).items():
        if data != (folder / name).read_bytes():
            reason = f"{folder / name} is not what this version makes of the model, so its figures are another's"
            raise InputError(reason, hint="gather with the version that found it, or search again")
    if not read_json(folder / "environment.json")["git"]:
        raise InputError(f"{folder} names no revision of the program that found it", hint="search from a checkout")
    files["config.json"] = _json(_placeless(read_json(folder / "config.json")))
    files["environment.json"] = _json(_of_any_machine(read_json(folder / "environment.json")))
    for name, data in files.items():
        if names_a_place(name, data):
            raise InputError(f"{folder / name} names a place of this machine")
    answers = Tflm(files["model.tflite"]).run(heard(files["model.tflite"]))
    return Candidate(folder, result, files, digest(answers.tobytes()))


def _front(candidates: Sequence[Candidate]) -> list[Candidate]:
    groups: dict[tuple[Any, ...], list[Candidate]] = defaultdict(list)
    for x in candidates:
        groups[x.beside].append(x)
    kept = []
    for group in groups.values():
        group.sort(key=lambda x: x.count)
        on_front = front([(-x.result["validation_accuracy_int8"], x.count) for x in group])
        kept += [x for x, on in zip(group, on_front, strict=True) if on]
    return kept


def _of_any_machine(environment: dict[str, Any]) -> dict[str, Any]:
    """Without what says where results went, and which build of the system it was."""
    words, argv = iter(environment["argv"]), []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in (*RECORDINGS, *PLACES):
            value = value if equals else next(words)
            argv += [flag, Path(value).name] if flag in RECORDINGS else []
        elif word not in SWITCHES:
            argv.append(word)
    system = re.sub(r"^(\w+)-.*?-(x86_64|aarch64|arm64)\b", r"\1-\2", environment["platform"])
    return {**environment, "argv": argv, "platform": system}


def _placeless(config: dict[str, Any]) -> dict[str, Any]:
    """With folders of recordings by their names alone."""
    negatives = [Path(x).name for x in config.get("negatives", [])]
    return {**config, "data": Path(config["data"]).name, **({"negatives": negatives} if "negatives" in config else {})}


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


if __name__ == "__main__":
    try:
        for written in gather([Path(x) for x in sys.argv[1:]], zoo_folder()):
            print(written)
    except HilNasError as error:
        sys.exit(str(error))
