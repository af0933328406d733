"""`hil_nas listen` and `hil_nas tune` from a run folder to what they leave, by a model with random weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from test_listening_host import streamable

from hil_nas import cli
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.deploy.decisions import ONE, Decisions, attach_decisions, read_decisions
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.stream import step_tflite
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.extras import pip_install
from hil_nas.front_ends import parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.runs import Run, read_result
from hil_nas.workflows import tune

LABELS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
FRONT_END = parse_front_end("mfcc:480/320/40/10")
THRESHOLDS = (*(ONE // 2 for _ in LABELS[:-2]), 0, 0)
DECISIONS = Decisions(LABELS, THRESHOLDS, period_samples=960, averaged=2, refractory=9)


@pytest.fixture
def run(kws_model: bytes, tmp_path: Path) -> Path:
    """What a baseline leaves."""
    return finished(tmp_path, attach_front_end(kws_model, FRONT_END))


def finished(folder: Path, model: bytes) -> Path:
    run = Run.create(folder / "runs", "baseline", "toy", {"data": "recordings", "words": []})
    run.write_bytes("model.tflite", model)
    run.finish("complete", {"labels": LABELS})
    return run.folder


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Two recordings by two people, of noise that changes its colour."""
    rng = np.random.default_rng(5)
    for person in ("ann", "bob"):
        path = tmp_path / "audio" / person / "evening.flac"
        path.parent.mkdir(parents=True)
        parts = [rng.normal(0, 10 ** rng.uniform(1, 4), 3000).cumsum() % 16_000 - 8000 for _ in range(30)]
        soundfile.write(path, np.concatenate(parts).astype(np.int16), 16_000)
    return tmp_path / "audio"


def command(*arguments: object, folder: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
    assert cli.main([*map(str, arguments), "--runs", str(folder / "runs"), "--json"]) == status
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_what_is_heard_is_what_the_oracle_answers_to_each_window(
    run: Path, audio: Path, tmp_path: Path, kws_model: bytes, boards_dir: Path, build_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """TFLM's kernels on clips cut from the recording, softmax and averages in float64."""
    model = attach_decisions(attach_front_end(kws_model, FRONT_END), DECISIONS)
    (run / "model.tflite").write_bytes(model)
    result = command("listen", run, audio, folder=tmp_path, capsys=capsys)
    host, oracle = HostFrontEnd(build_host_library(boards_dir, build_dir)), Tflm(model)
    blob = FRONT_END.blob(oracle.input_scale, oracle.input_zero_point)
    words = 0
    for recording, path in zip(result["recordings"], sorted(audio.rglob("*.flac")), strict=True):
        samples = soundfile.read(path, dtype="int16")[0]
        assert recording["seconds"] == len(samples) / 16_000
        used = FRONT_END.window_samples + (FRONT_END.frames - 1) * FRONT_END.hop_samples
        first = next(x for x in range(used, len(samples)) if (x - 480 + 320) % 960 == 0)
        ends = range(first, len(samples) + 1, 960)
        padded = np.concatenate([samples, np.zeros(16_000, np.int16)])
        answers = oracle.run(host.features(blob, np.stack([padded[x - used :][:16_000] for x in ends]))[..., None])
        posteriors = (answers.astype(float) + 128) / 256  # this model ends in a softmax
        averages = (posteriors + np.concatenate([np.zeros((1, 12)), posteriors[:-1]])) / 2
        expected, waits = [], 0
        for end, average in zip(ends, averages[:, :10], strict=True):
            if waits:
                waits -= 1
            elif average.max() >= 0.5:
                expected.append((end / 16_000, LABELS[int(average.argmax())]))
                waits = 9
        assert [(x["time_s"], x["word"]) for x in recording["heard"]] == expected
        words += len(expected)
    assert words >= 3 and result["tuned"] and result["period_ms"] == 60.0


def test_it_leaves_a_page_and_says_that_it_was_not_tuned(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["listen", str(run), str(audio), "--listen", "65ms", "--runs", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr()
    assert "thresholds are usual ones" in shown.err and "every 60 ms" in shown.out
    (folder,) = (tmp_path / "runs").glob("*-listen-baseline-toy")
    result, page = read_result(folder), (folder / "report.html").read_text()
    assert result["tuned"] is False and result["decisions"]["refractory"] == 17
    assert page.count('class="chart"') == 2 and "ann/evening.flac" in page and "not tuned" in page
    assert "http" not in page


def test_a_run_is_named_as_a_list_of_runs_names_it(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir(exist_ok=True)
    named = run.rename(tmp_path / "runs" / "mine") if run.parent != tmp_path / "runs" else run
    assert command("listen", named.name, audio, folder=tmp_path, capsys=capsys)["hours"] > 0
    actual = command("tune", "none", "--negatives", audio, folder=tmp_path, capsys=capsys, status=1)
    assert "there is no run 'none'" in actual["message"]


def test_a_tuning_says_where_the_recordings_are_missed(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run learned from a folder `recordings`, as a network of the zoo did from one that is not here."""
    monkeypatch.chdir(tmp_path)
    actual = command("tune", run, "--negatives", audio, folder=tmp_path, capsys=capsys, status=1)
    assert "learned from recordings, no folder here" in actual["message"] and "data fetch" in actual["hint"]


def test_clips_in_which_words_were_heard_are_kept(
    run: Path, audio: Path, tmp_path: Path, kws_model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "model.tflite").write_bytes(attach_decisions(attach_front_end(kws_model, FRONT_END), DECISIONS))
    kept = tmp_path / "kept"
    result = command("listen", run, audio, "--keep", kept, folder=tmp_path, capsys=capsys)
    words = [(x["name"], y) for x in result["recordings"] for y in x["heard"]]
    assert len(words) == len(list(kept.iterdir())) >= 3
    for name, heard in words:
        (path,) = kept.glob(f"{name.replace('/', '_')}-{heard['time_s']:.2f}s-{heard['word']}.wav")
        end = round(heard["time_s"] * 16_000)
        recording, rate_hz = soundfile.read(audio / name, dtype="int16")
        clip, kept_rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == kept_rate_hz and np.array_equal(clip, recording[end - 16_000 : end])


def test_a_run_with_a_step_of_its_stream_listens_by_it_on_host_and_board(
    run: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = attach_front_end(write_tflite(random_graph(streamable(), 3)), FRONT_END)
    (run / "model.tflite").write_bytes(model)
    (run / "stream.tflite").write_bytes(step_tflite(model, 4))
    result = command("listen", run, audio, folder=tmp_path, capsys=capsys)
    assert (result["way"], result["period_ms"]) == ("as a stream", 80.0)
    assert cli.main(["listen", str(run), str(audio), "--listen", "60ms", "--runs", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr()
    assert "in sliding windows, an answer every 60 ms; a step of its stream.tflite is 80 ms" in shown.err
    assert "in sliding windows" in " ".join(shown.out.split())
    assert cli.main(["verify", str(run), "--listen", str(audio), "--board", "native@native", "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert verified["bits_equal"] and verified["way"] == "as a stream" and verified["decisions"] > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "10ms"], "a period of 10 ms is no time between answers"),
        (["--listen", "2s"], "a period of 2000 ms is no time between answers"),
        (["nowhere.wav"], "neither a file nor a folder"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in command("listen", run, *arguments, folder=tmp_path, capsys=capsys, status=1)["message"]
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_folder_that_is_no_run_and_a_period_that_it_was_not_tuned_to(
    run: Path, audio: Path, tmp_path: Path, kws_model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no run folder" in command("listen", audio, folder=tmp_path, capsys=capsys, status=1)["message"]
    (run / "model.tflite").write_bytes(attach_decisions(attach_front_end(kws_model, FRONT_END), DECISIONS))
    actual = command("listen", run, audio, "--listen", "100ms", folder=tmp_path, capsys=capsys, status=1)
    assert "tuned to a period of 60 ms" in actual["message"]


def microphone(samples: np.ndarray, after: Any) -> SimpleNamespace:
    """sounddevice with a microphone that hears these samples, and what happens behind them."""

    class Stream:
        def __init__(self, rate_hz: int, block: int, channels: int, dtype: str) -> None:
            assert (rate_hz, channels, dtype) == (16_000, 1, "int16")
            self.blocks = iter(np.array_split(samples[: len(samples) // block * block], len(samples) // block))

        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def read(self, count: int) -> tuple[bytes, bool]:
            block = next(self.blocks, None)
            if block is None:
                after()
                return bytes(2 * count), False
            return block.tobytes(), False

    return SimpleNamespace(RawInputStream=Stream, PortAudioError=type("PortAudioError", (Exception,), {}))


def test_the_microphone_until_ctrl_c(
    run: Path, audio: Path, tmp_path: Path, kws_model: bytes, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (run / "model.tflite").write_bytes(attach_decisions(attach_front_end(kws_model, FRONT_END), DECISIONS))
    path = next(audio.rglob("*.flac"))
    samples = soundfile.read(path, dtype="int16")[0]
    before = signal.getsignal(signal.SIGINT)
    fake = microphone(samples, lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    heard = command("listen", run, "--keep", tmp_path / "kept", folder=tmp_path, capsys=capsys)
    assert signal.getsignal(signal.SIGINT) is before
    by_file = command("listen", run, path, folder=tmp_path, capsys=capsys)
    (live,), (file,) = heard["recordings"], by_file["recordings"]
    assert live["name"] == "microphone" and live["heard"][: len(file["heard"])] == file["heard"] != []
    for word in live["heard"]:
        (kept,) = (tmp_path / "kept").glob(f"microphone-{word['time_s']:.2f}s-*.wav")
        end = round(word["time_s"] * 16_000)
        assert np.array_equal(soundfile.read(kept, dtype="int16")[0], samples[end - 16_000 : end])


def test_no_sounddevice_and_no_microphone_are_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    actual = command("listen", run, folder=tmp_path, capsys=capsys, status=1)
    assert actual["hint"] == pip_install("microphone")
    fake = microphone(np.zeros(3200, np.int16), None)

    def refuse() -> None:
        raise fake.PortAudioError("no default input device")

    monkeypatch.setitem(sys.modules, "sounddevice", microphone(np.zeros(3200, np.int16), refuse))
    sys.modules["sounddevice"].PortAudioError = fake.PortAudioError  # type: ignore[attr-defined]
    assert "no default input" in command("listen", run, folder=tmp_path, capsys=capsys, status=1)["message"]


@pytest.fixture
def toy_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clips of each class and split, in place of those that the run learned from."""
    rng = np.random.default_rng(1)

    def clips() -> Clips:
        return Clips(rng.normal(0, 3000, (36, 16_000)).astype(np.int16), np.repeat(np.arange(12), 3))

    data = KeywordData("toy", LABELS, clips(), clips(), clips(), np.zeros(16_000, np.int16))
    monkeypatch.setattr(tune, "load_data", lambda *_, **__: data)


def test_a_tuning_leaves_a_run_that_listens(
    run: Path, audio: Path, toy_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--negatives", audio, "--false-accepts", "2000/h", "--clips", 2, "--snr", "5,0", "--listen", "120ms"]
    result = command("tune", run, *options, folder=tmp_path, capsys=capsys)
    folder = Path(result["run"])
    decisions = read_decisions((folder / "model.tflite").read_bytes())
    assert decisions is not None and decisions.to_json() == {
        **result["decisions"], "labels": LABELS, "thresholds": decisions.thresholds,
    }  # fmt: skip
    assert decisions.period_samples == 1920 and not any(decisions.thresholds[-2:])
    chosen, reported = result["chosen"], result["reported"]
    assert chosen["false_accepts"]["count"] <= result["allowed"] == int(2000 * chosen["false_accepts"]["hours"]) > 0
    assert list(reported["misses"]) == ["silence", "noise, 5 dB", "speech, 5 dB", "noise, 0 dB", "speech, 0 dB"]
    assert (reported["words"], reported["recordings"], reported["speakers"]) == (20, 1, 1)
    assert {x["word"] for x in reported["keywords"]} == set(LABELS[:10])
    page = (folder / "report.html").read_text()
    assert page.count('class="chart"') == 2 and "nan" not in page.split("<svg")[0]
    for point in (*result["curve"], *(x for x in result["at_rates"] if "misses" in x)):
        assert sum(x["false_accepts"] for x in point["keywords"]) == point["false_accepts"]
        mean = np.mean([x["misses"] for x in point["keywords"]])  # as many clips of each
        assert np.mean(list(point["misses"].values())) == pytest.approx(mean)
    (folder / "report.html").write_text("gone")
    assert cli.main(["report", str(folder)]) == 0 and (folder / "report.html").read_text() == page
    capsys.readouterr()
    heard = command("listen", folder, audio, folder=tmp_path, capsys=capsys)
    assert heard["tuned"] and heard["period_ms"] == 120.0
    counts = chosen["false_accepts"]["count"] + reported["false_accepts"]["count"]
    assert sum(len(x["heard"]) for x in heard["recordings"]) == counts
    again = command("tune", folder, *options, folder=tmp_path, capsys=capsys)
    assert again["decisions"] == result["decisions"]


def test_the_export_hears_alike(
    run: Path, audio: Path, toy_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--negatives", audio, "--false-accepts", "2000/h", "--clips", 1]
    tuned = Path(command("tune", run, *options, folder=tmp_path, capsys=capsys)["run"])
    subprocess.run(["make", "-j2"], cwd=tuned / "export", check=True, capture_output=True)
    heard = command("listen", tuned, audio, folder=tmp_path, capsys=capsys)["recordings"]
    assert sum(len(x["heard"]) for x in heard) >= 3
    for recording in heard:
        samples, rate_hz = soundfile.read(audio / recording["name"], dtype="int16")
        soundfile.write(tmp_path / "one.wav", samples, rate_hz)
        done = subprocess.run(
            ["build/native/example", tmp_path / "one.wav"], cwd=tuned / "export", capture_output=True, text=True
        )
        lines = [x.split() for x in done.stdout.splitlines() if " s " in x]
        expected = [(f"{x['time_s']:.3f}", round(x["posterior"] * ONE), x["word"]) for x in recording["heard"]]
        assert [(time_s, round(float(posterior) * ONE), word) for time_s, _, posterior, word in lines] == expected
    assert not (tuned / "export" / "src" / "keywords_figures.h").exists()  # nobody had verified the model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--negatives", "x", "--false-accepts", "0.5"], "is no rate, expected one an hour"),
        (["--negatives", "x", "--false-accepts", "0/h"], "above 0"),
        ([], "nothing to be silent in"),
    ],
)
def test_tunings_that_make_no_sense(
    arguments: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in command("tune", run, *arguments, folder=tmp_path, capsys=capsys, status=2)["message"]
