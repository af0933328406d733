"""Decisions on a stream: the C source against softmax and averages in float64, and against rules told in words."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hil_nas.deploy.decisions import MAX_CLASSES, ONE, Decisions, attach_decisions, read_decisions
from hil_nas.deploy.front_end_metadata import attach_front_end, read_front_end
from hil_nas.errors import InputError
from hil_nas.front_ends import parse_front_end
from hil_nas.listening.decider import Decider, build_decide_library

LABELS = ("no", "yes", "silence")
LOGITS = (0.1, -20)
PROBABILITIES = (1 / 256, -128)
USUAL = Decisions(LABELS, (ONE // 2, ONE // 2, 0), period_samples=1600, averaged=3, refractory=4)


@pytest.fixture(scope="module")
def library(boards_dir: Path, build_dir: Path) -> Path:
    return build_decide_library(boards_dir, build_dir)


def probabilities(answers: np.ndarray, scale: float) -> np.ndarray:
    """Softmax in float64; its zero point does not matter."""
    powers = np.exp(scale * (answers - answers.max(axis=1, keepdims=True)))
    return powers / powers.sum(axis=1, keepdims=True)


def averaged(x: np.ndarray, count: int) -> np.ndarray:
    """Means of the last `count` rows, where none are taken for zeros."""
    padded = np.concatenate([np.zeros((count - 1, x.shape[1])), x])
    return np.stack([padded[i : i + count].sum(axis=0) / count for i in range(len(x))])


def answers_of(*rows: int) -> np.ndarray:
    """Answers that are sure of one class each, in probabilities."""
    answers = np.full((len(rows), len(LABELS)), -128, np.int8)
    answers[np.arange(len(rows)), rows] = 127
    return answers


@pytest.mark.parametrize("scale", [0.003, 0.0583, 0.1, 0.25, 2.0])
@pytest.mark.parametrize("classes", [2, 12, MAX_CLASSES])
@pytest.mark.parametrize("count", [1, 5, 64])
def test_averages_are_those_of_softmax(scale: float, classes: int, count: int, library: Path) -> None:
    rng = np.random.default_rng([classes, count])
    answers = np.clip(rng.normal(0, rng.choice([3, 30, 300], (200, 1)), (200, classes)), -128, 127).astype(np.int8)
    decisions = Decisions(tuple(map(str, range(classes))), (ONE,) * classes, 1600, count, 0)
    _, actual = Decider(library, decisions, (scale, 3)).next(answers)
    expected = averaged(probabilities(answers.astype(float), scale), count)
    assert np.abs(actual / ONE - expected).max() < 2.5e-4
    assert actual.max() <= ONE


def test_logits_are_sharpened_and_probabilities_are_not(library: Path) -> None:
    answers = np.random.default_rng(0).integers(-60, 60, (50, 3)).astype(np.int8)
    sharp = replace(USUAL, sharpness=3, averaged=1)
    _, actual = Decider(library, sharp, LOGITS).next(answers)
    assert np.abs(actual / ONE - probabilities(answers.astype(float), 3 * LOGITS[0])).max() < 2.5e-4
    _, actual = Decider(library, sharp, PROBABILITIES).next(answers)
    assert np.array_equal(actual, (answers.astype(int) + 128) * 128)


def test_outputs_of_a_softmax_are_taken_as_they_are(library: Path) -> None:
    answers = np.array([[-128, 0, 127]], np.int8)
    _, actual = Decider(library, replace(USUAL, averaged=1), PROBABILITIES).next(answers)
    assert actual.tolist() == [[0, ONE // 2, ONE * 255 // 256]]


@pytest.mark.parametrize(
    ("rows", "changed", "expected"),
    [
        ([1, 1, 1, 1], {}, [-1, 1, -1, -1]),  # two of three reach a half
        ([1, 1, 1, 1], {"averaged": 1}, [1, -1, -1, -1]),
        ([1] * 7, {"averaged": 1}, [1, -1, -1, -1, -1, 1, -1]),  # four refractory answers in between
        ([1, 0, 1, 0], {"averaged": 1, "refractory": 0}, [1, 0, 1, 0]),
        ([2, 2, 2, 2], {}, [-1] * 4),  # silence has no threshold
        ([1, 2, 2, 1], {}, [-1] * 4),  # never two within three
        ([0, 1, 1, 1], {"averaged": 2, "thresholds": (9000, 9000, 0)}, [0, -1, -1, -1]),
        ([0, 1, 1], {"averaged": 2, "thresholds": (ONE * 3 // 4, 9000, 0)}, [-1, 1, -1]),  # no has the higher one
        ([0, 1], {"averaged": 2, "thresholds": (ONE // 2, ONE // 2, 0), "refractory": 0}, [-1, -1]),  # half of 255/256
        ([0, 1], {"averaged": 2, "thresholds": (15000, 15000, 0), "refractory": 0}, [0, 0]),  # of equals the first
        ([1, 1], {"averaged": 1, "thresholds": (0, ONE, 0)}, [-1, -1]),  # 255 / 256 is not 1
    ],
)
def test_rules(rows: list[int], changed: dict[str, object], expected: list[int], library: Path) -> None:
    heard, _ = Decider(library, replace(USUAL, **changed), PROBABILITIES).next(answers_of(*rows))  # type: ignore[arg-type]
    assert heard.tolist() == expected


def test_a_stream_in_pieces_is_the_stream_and_a_restart_forgets(library: Path) -> None:
    rng = np.random.default_rng(0)
    answers = rng.integers(-128, 128, (300, 3)).astype(np.int8)
    decider = Decider(library, USUAL, LOGITS)
    heard, averages = decider.next(answers)
    assert len(set(heard.tolist())) == 3
    decider.restart()
    pieces = [decider.next(x) for x in np.split(answers, [1, 2, 9, 100])]
    assert np.array_equal(np.concatenate([x for x, _ in pieces]), heard)
    assert np.array_equal(np.concatenate([x for _, x in pieces]), averages)
    streams = answers.reshape(10, 30, 3)
    one_by_one = []
    for stream in streams:
        decider.restart()
        one_by_one.append(decider.next(stream)[0])
    assert np.array_equal(decider.streams(streams), np.stack(one_by_one))


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (0, 0, "number of classes"),
        (0, MAX_CLASSES + 1, "number of classes"),
        (1, 0, "averaged answers"),
        (1, 65, "averaged answers"),
        (2, 65_536, "refractory time"),
        (3, (1 << 24) + 1, "scale of the outputs"),
        (4, ONE + 1, "a threshold"),
        (5, ONE // 2 << 16, "a threshold"),  # of a fourth class, which there is not
        (4, 0, "no class"),
    ],
)
def test_the_source_refuses_settings_by_itself(
    word: int, value: int, reason: str, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = np.frombuffer(USUAL.packed(*LOGITS), np.uint32).copy()
    words[word] = value
    monkeypatch.setattr(Decisions, "packed", lambda *_: words.tobytes())
    with pytest.raises(InputError, match=reason):
        Decider(library, USUAL, LOGITS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"averaged": 0}, "averaged answers of 0"),
        ({"averaged": 2.0}, "averaged answers of 2.0"),
        ({"refractory": -1}, "refractory time of -1"),
        ({"sharpness": 0}, "sharpness of 0"),
        ({"thresholds": (ONE + 1, 1, 0)}, "threshold of 32769"),
        ({"thresholds": (1, 1)}, "3 classes with 2 thresholds"),
        ({"thresholds": (0, 0, 0)}, "none can be heard"),
        ({"period_samples": 0}, "period of 0"),
    ],
)
def test_settings_are_checked_where_they_are_made(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(USUAL, **changed)  # type: ignore[arg-type]


def test_a_scale_that_no_logits_have_is_refused() -> None:
    for scale in (1e-7, 500.0):  # of logits
        with pytest.raises(InputError, match="logits in steps"):
            USUAL.packed(scale, 0)


def test_the_model_carries_them_beside_its_front_end(reference_model: bytes) -> None:
    front_end = parse_front_end("mfcc:480/320/40/10")
    assert read_decisions(reference_model) is None
    model = attach_decisions(attach_front_end(reference_model, front_end), USUAL)
    assert (read_decisions(model), read_front_end(model)) == (USUAL, front_end)
    other = replace(USUAL, averaged=7)
    assert read_decisions(attach_decisions(model, other)) == other


@pytest.mark.parametrize("text", [b"{}", b"[1]", b"\xff", b'{"version": 1, "labels": ["a"]}', b'{"version": 9}'])
def test_other_metadata_is_refused(text: bytes, reference_model: bytes) -> None:
    from hil_nas.deploy.decisions import NAME
    from hil_nas.tflite.metadata import with_metadata

    with pytest.raises(InputError, match=NAME):
        read_decisions(with_metadata(reference_model, NAME, text))


JOB = """
#include <stdlib.h>
#include "decide.h"
int main(void)
{
    for (uint32_t classes = 1; classes <= DECIDE_MAX_CLASSES; classes += 9)
        for (uint32_t averaged = 1; averaged <= DECIDE_MAX_AVERAGED; averaged += 9)
            for (uint32_t bits = 0; bits <= 24; bits++) {
                struct decide_settings settings = {classes, averaged, 3, bits != 0 ? 1u << bits : 0, {DECIDE_ONE}};
                int8_t outputs[200 * DECIDE_MAX_CLASSES];
                int16_t heard[200];
                struct decide_stream *stream = malloc(decide_bytes(&settings));
                uint16_t *averages = malloc(200 * classes * sizeof *averages);
                for (uint32_t i = 0; i < sizeof outputs; i++)
                    outputs[i] = (int8_t)(i % 7 == 0 ? rand() : i % 2 ? 127 : -128);
                if (decide_fault(&settings) != NULL)
                    return 2;
                decide_start(&settings, stream);
                decide_all(&settings, stream, outputs, 200, heard, averages);
                for (uint32_t i = 0; i < 200 * classes; i++)
                    if (averages[i] > DECIDE_ONE)
                        return 3;
                free(averages);
                free(stream);
            }
    return 0;
}
"""


def test_it_stays_in_its_memory_and_its_integers(boards_dir: Path, tmp_path: Path) -> None:
    """At the ends of what decide_fault() lets pass, under the sanitizers."""
    folder = boards_dir / "src" / "listen"
    (tmp_path / "job.c").write_text(JOB)
    program = tmp_path / "job"
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{folder}"]
    subprocess.run(["gcc", *flags, tmp_path / "job.c", folder / "decide.c", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_floats_and_no_library_but_memset(boards_dir: Path, tmp_path: Path) -> None:
    """On a core without division in hardware a compiler would call one; a Cortex-M4 has it."""
    source, made = boards_dir / "src" / "listen" / "decide.c", tmp_path / "decide.o"
    compiler = ["arm-none-eabi-gcc", "-std=c11", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-O2"]
    subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-Wconversion", "-c", source, "-o", made], check=True)
    listed = subprocess.run(["arm-none-eabi-nm", "-u", made], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["U", "memset"]
