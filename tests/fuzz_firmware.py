"""libFuzzer on the firmware's parser and plan loader: builds the target, makes its first inputs, runs it, and counts
which lines of the firmware it reached. See fuzz/fuzz.c.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from every_operator import every_operator

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network

Target = Literal["wire", "plan"]
FOLDER = Path(__file__).resolve().with_name("fuzz")
IGNORED = FOLDER / "ignore.txt"
FUZZER = (
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    f"-fsanitize-ignorelist={IGNORED}",
    f"-DIGNORED={zlib.crc32(IGNORED.read_bytes())}",  # the build knows an object by its flags
)
COVERED = (*FUZZER, "-fprofile-instr-generate", "-fcoverage-mapping")
MAX_BYTES = {"wire": 60_000, "plan": 6_000}
CONFIG = Mfcc(512, 512, 20, 10)
NETWORKS = (
    Network(
        (9, 7, 2),
        (
            Layer("conv", (-1,), 6, kernel=(3, 3), stride=(2, 1), relu=True),
            Layer("depthwise", (0,), kernel=(3, 3), relu=True),
            Layer("depthwise", (0,), kernel=(3, 3), dilation=(2, 2)),
            Layer("average_pool", (1,), kernel=(3, 3)),
            Layer("add", (2, 3)),
            Layer("concatenation", (4, 1)),
            Layer("max_pool", (5,), kernel=(2, 2), stride=(2, 2)),
            Layer("fully_connected", (6,), 5),
            Layer("softmax", (7,)),
        ),
    ),
    Network((4, 4, 2), (Layer("conv", (-1,), 3, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 5))),
    Network((CONFIG.frames, 10, 1), (Layer("conv", (-1,), 4, stride=(4, 2)), Layer("fully_connected", (0,), 12))),
    Network((6, 6, 4), (Layer("conv", (-1,), 8), Layer("depthwise", (0,), kernel=(5, 1)), Layer("max_pool", (1,)))),
    Network(
        (7, 6, 4),
        (
            Layer("depthwise", (-1,), kernel=(3, 3), stride=(2, 1)),
            Layer("depthwise", (0,), kernel=(3, 3), dilation=(2, 2)),
            Layer("average_pool", (1,), kernel=(3, 2)),
            Layer("conv", (2,), 5, kernel=(4, 1), dilation=(1, 2)),
            Layer("fully_connected", (3,), 6),
        ),
    ),
    Network(
        (2, 1, 8),
        (
            Layer("delay", (-1,), shape=(5, 1, 8)),
            Layer("conv", (0,), 8, (3, 1), padding="valid"),
            Layer("delay", (1,), shape=(9, 1, 8)),
            Layer("conv", (2,), 4, (2, 1), padding="valid"),
        ),
    ),
    Network((18, 16, 4), (Layer("average_pool", (-1,), kernel=(18, 16), padding="valid"),)),
    Network((8, 4, 1), (Layer("conv", (-1,), 8, kernel=(4, 3), stride=(2, 2)), Layer("conv", (0,), 8, kernel=(1, 3)))),
)


@dataclass(frozen=True)
class Fuzzed:
    """What a run of the fuzzer came to.

    Attributes:
        features: edges and the like that it has reached, as it counts them.
        found: what it found wrong, empty where nothing.
    """

    executions: int
    features: int
    report: str


def missing_tool() -> str | None:
    """Why nothing can be fuzzed here, and how to change that."""
    how = "apt-get install clang libclang-rt-dev"
    if shutil.which("clang") is None:
        return f"needs clang: {how}"
    program = b"int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0 * (int)n; }"
    command = ["clang", *FUZZER, "-x", "c", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input=program, capture_output=True, check=False)
    return f"needs libFuzzer's runtime for clang: {how}" if done.returncode else None


def build_target(boards_dir: Path, build_dir: Path, scratch: Path, flags: Sequence[str] = FUZZER) -> Path:
    """The firmware as a fuzzer's target."""
    for name in ("src", "include", "cortex_m"):
        (scratch / name).symlink_to(boards_dir.resolve() / name)
    (scratch / "fuzz").symlink_to(FOLDER)
    return build_firmware("fuzz", scratch, build_dir.resolve(), find_third_party(), flags).elf


def fuzz(elf: Path, target: Target, corpus: Path, *options: str, limit_s: float = 60.0) -> Fuzzed:
    """Run the fuzzer; what it finds of interest is added to the corpus.

    Args:
        options: libFuzzer's, such as `-runs=1000` or `-max_total_time=60`.
    """
    command = [str(elf), f"-max_len={MAX_BYTES[target]}", "-print_final_stats=1", "-timeout=20", *options, str(corpus)]
    environment = os.environ | {"HIL_FUZZ": target, "ASAN_OPTIONS": "detect_leaks=0", "LLVM_PROFILE_FILE": "/dev/null"}
    # A program that we start inherits the most memory that we ever had, which libFuzzer holds against its limit; one
    # that coreutils' timeout starts inherits next to nothing.
    done = subprocess.run(
        ["timeout", "--signal=KILL", f"{limit_s:g}", *command], capture_output=True, text=True, errors="replace",
        env=environment, cwd=corpus.parent,
    )  # fmt: skip
    counts = [int(x) for x in re.findall(r"stat::number_of_executed_units: *([0-9]+)", done.stderr)]
    features = [int(x) for x in re.findall(r"\bft: ([0-9]+)", done.stderr)]
    report = (done.stderr[-4000:] or f"exit status {done.returncode}") if done.returncode else ""
    return Fuzzed(sum(counts), max(features, default=0), report)


def coverage(elf: Path, corpora: dict[Target, Path], scratch: Path) -> dict[str, tuple[int, int]]:
    """Lines of each source in boards/src that the corpora reach: (covered, all). The target is built with COVERED."""
    profiles = []
    for target, corpus in corpora.items():
        profiles.append(str(scratch / f"{target}.profraw"))
        environment = os.environ | {"HIL_FUZZ": target, "ASAN_OPTIONS": "detect_leaks=0"}
        command = [str(elf), "-runs=0", f"-max_len={MAX_BYTES[target]}", str(corpus)]
        subprocess.run(
            command, check=True, capture_output=True, cwd=scratch, env=environment | {"LLVM_PROFILE_FILE": profiles[-1]}
        )
    merged = str(scratch / "merged.profdata")
    subprocess.run([_llvm("llvm-profdata"), "merge", *profiles, "-o", merged], check=True)
    export = [_llvm("llvm-cov"), "export", "-summary-only", str(elf), f"-instr-profile={merged}"]
    files = json.loads(subprocess.run(export, check=True, capture_output=True).stdout)["data"][0]["files"]
    own = [x for x in files if "src" in Path(x["filename"]).parts]
    lines = {Path(x["filename"]).name: x["summary"]["lines"] for x in own if x["summary"]["lines"]["count"]}
    return {name: (x["covered"], x["count"]) for name, x in sorted(lines.items())}


def seed_corpus(target: Target, folder: Path) -> None:
    """Inputs that a good host would send, for the fuzzer to change."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = _plans() if target == "plan" else _scripts()
    for index, data in enumerate(inputs):
        (folder / f"seed{index:02}").write_bytes(data)


def _plans() -> list[bytes]:
    searched = [lower(random_graph(x, seed)).to_bytes() for seed, x in enumerate(NETWORKS)]
    return [*searched, lower(read_tflite(every_operator(6, 5, classes=4))).to_bytes()]


def _typed(*commands: str) -> bytes:
    return _part(0, "".join(f"{x}%" for x in commands).encode())


def _part(what: int, data: bytes = b"") -> bytes:
    return struct.pack("<BH", what, len(data)) + data


def _upload(slot: str, data: bytes, flash: bool = False) -> bytes:
    return _part(1 + ("plan", "frontend", "audio", "input").index(slot) + 4 * flash, data)


def _listen(classes: int) -> bytes:
    """Every four frames, on so many classes of equal thresholds."""
    settings = struct.pack("<6I64H", 4, 0, classes, 2, 3, 5000, *(9000 if i < classes else 0 for i in range(64)))
    return _typed(f"hil load listen ram {len(settings)} {zlib.crc32(settings):08x}") + _part(0, settings)


def _scripts() -> list[bytes]:
    plans, noise = _plans(), np.random.default_rng(1)
    front_end = CONFIG.blob(0.5, 10)
    audio = noise.normal(0, 3000, 16000).astype("<i2").tobytes()
    small = noise.bytes(32)
    stream = next(i for i, x in enumerate(NETWORKS) if x.layers[0].kind == "delay")
    halves = (f"db {small[:31].hex()}", f"db {small[31:].hex()}ff")
    return [
        _typed("name", "profile", "timestamp", "help", "results", "db print", "infer", "bogus", "", "db", "hil"),
        _typed("a b c d e f g h", "y" * 90, "db load 32", *halves, "db print", "db load 0", "db load 99999"),
        _typed("db 12", "db load 4", "db 1", "db 1g", "db aAbB", "db load", "infer 0", "infer 1 -1"),
        _typed("hil id", "hil id*761a425c", "hil id*00000000", "hil memory", "hil run network 0 1", "hil read output"),
        _upload("plan", plans[1]) + _typed("db load 32", *halves, "infer 2 1", "results"),
        _upload("plan", plans[1], True) + _upload("input", small) + _typed("hil run network 1 2", "hil read output"),
        _upload("plan", plans[0]) + _upload("input", noise.bytes(126)) + _typed("hil run network 0 1"),
        _upload("plan", plans[stream]) + _upload("input", noise.bytes(16))
        + _typed("hil run step 0 2", "hil read output", "hil clear", "infer 1 1", "hil run step 1 1"),
        _upload("frontend", front_end) + _upload("audio", audio) + _typed("hil run frontend 0 1", "hil read features"),
        _upload("plan", plans[2], True) + _upload("frontend", front_end, True) + _upload("audio", audio)
        + _typed("hil run all 0 1", "hil read features", "hil read output", "hil memory", "hil reset"),
        _upload("plan", plans[2]) + _upload("frontend", front_end) + _upload("plan", plans[1]) + _typed("hil memory"),
        _upload("plan", plans[2]) + _upload("frontend", front_end) + _upload("audio", audio) + _listen(12)
        + _typed("hil listen", "hil memory", "hil run all 0 1", "hil listen") + _listen(13) + _typed("hil listen"),
        _typed("hil load plan ram 5000 00000000") + _part(0, b"12345") + _part(9) + _typed("hil id", "hil read input"),
        _typed("hil load plan ram 9 0", "hil load input flash 5 00000000", "hil load audio ram 31 00000000"),
        _typed("hil load plan flash 4294967295 00000000", "hil load frontend ram 700000 00000000", "hil read plan"),
    ]  # fmt: skip


def _llvm(name: str) -> str:
    """The tool of this name, or of clang's own version."""
    if shutil.which(name):
        return name
    version = subprocess.run(["clang", "-dumpversion"], check=True, capture_output=True, text=True).stdout
    return f"{name}-{version.split('.')[0]}"
