"""What no option may be: refused at once with the status of wrong usage, in one line, as an object under --json."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hil_nas import cli
from hil_nas.audio.clips import Clips
from hil_nas.cli.arguments import parser
from hil_nas.cli.parsing import settings
from hil_nas.config import SearchConfig
from hil_nas.errors import InputError, UsageError
from hil_nas.front_ends import parse_front_end
from hil_nas.runs import Run
from hil_nas.units import parse_bytes, parse_seconds
from hil_nas.workflows.measurement_plan import CANDIDATES

HUGE = "9" * 400  # as a number, infinite
DIGITS = "9" * 5000  # more than Python reads
EPOCHS = ["0", "-1", "1.5", "", "nan", "ten", DIGITS, "100001"]
SEEDS = ["-1", "1.5", "nan", str(2**32), DIGITS, ""]
WORDS = ["", ",", "yes,", "yes,,no", "yes,yes", "yes, yes", " "]
SIZES = ["0", "64", "-1k", "0.0001k", "nan", "inf", "20kg", HUGE, ""]
TIMES = ["0ms", "-1ms", "10", "nanms", "infs", "10 minutes", f"{HUGE}s", ""]
SEARCH = [
    *[("--max-ram", x) for x in SIZES], *[("--max-flash", x) for x in SIZES], *[("--max-latency", x) for x in TIMES],
    *[("--train-epochs", x) for x in EPOCHS], *[("--seed", x) for x in SEEDS], *[("--words", x) for x in WORDS],
    *[("--search-epochs", x) for x in [*EPOCHS, "4"]], *[("--measure-every", x) for x in EPOCHS[1:]],
    *[("--gamma-ratio", x) for x in ("1", "0", "-2", "nan", "inf", "two", "")],
    *[("--skip-noise", x) for x in ("-0.1", "nan", "inf", "")],
    *[("--stop-rise", x) for x in ("0", "1", "nan", "inf", "-1")],
    *[("--front-end", x) for x in ("", "400/200/40", "400/200/40/10,", "400/200/40/10,400/200/40/10", "400/200/40/²",
                              "1/200/40/10", f"400/200/40/{DIGITS}", "continuos")],
    ("--space", "tinny"), ("--align", "pax"), ("--preset", "papr"), ("--name", ""), ("--name", " "),
    ("--board", ""), ("--board", "@virtual"), ("--board", "nucleo-l4r5@"), ("--board", "nucleo-l4r5@virtul"),
]  # fmt: skip
SWEEP = [
    *[("--seeds", x) for x in ("0", "-1", "101", "1.5", "nan", "")],
    *[(x, y) for x in ("--max-ram", "--max-flash") for y in ("", "20k,", "20k,20k", "20k,nan", "20480B,20k")],
    *[("--max-latency", x) for x in ("", "40ms,", "40ms,0.04s", "none,none", "40")],
    ("--board", ""), ("--board", "nucleo-l4r5,"), ("--board", "nucleo-l4r5,nucleo_l4r5"), ("--space", "tiny,tiny"),
    ("--space", ""), ("--align", ""), ("--baselines", ""), ("--baselines", "ds-cnn,ds-cnn"), ("--baselines", "ds_cnn"),
    ("--train-epochs", "0"), ("--words", ""), ("--front-end", ""),
    *[("--address", x) for x in ("", "auto", "host", "host:", ":1", "host:0", "host:65536", "host:port")],
]  # fmt: skip
WRONG = [
    *(["search", *x] for x in SEARCH),
    *(["sweep", *x] for x in SWEEP),
    *(["baseline", "ds-cnn", "--train-epochs", x] for x in EPOCHS),
    *(["baseline", "ds-cnn", "--seed", x] for x in SEEDS),
    *(["baseline", "ds-cnn", "--words", x] for x in WORDS),
    *(["profile", "--networks", x] for x in ("0", "-1", "601", "1.5", "nan", "")),
    *(["profile", "--seed", x] for x in SEEDS),
    *(["verify", "model.tflite", "--clips", x] for x in ("0", "-3", "20001", "1.5", "nan", "")),
    *(["verify", "model.tflite", "--seed", x] for x in SEEDS),
    *(["verify", "model.tflite", "--data", ".", "--words", x] for x in WORDS),
    *(["serve", "model.tflite", "--tcp", x] for x in ("70000", "65536", "-1", "1.5", "http", "")),
    ["verify", "model.tflite", "--words", "yes,no"],
    ["verify"], ["baseline"], ["baseline", "ds_cnn"], ["serve"], ["nosuch"], [], ["search", "extra"],
    ["verify", "model.tflite", "--engine", "tfml"], ["search", "--max-latency"], ["search", "--spase", "tiny"],
    ["search", "--max-lat", "10ms"], ["search", "--resum"], ["profile", "--compare", "a"],
    ["profile", "--evaluate", "--compare", "a", "b"], ["search", "--skip-noise", "0.2"],
    ["search", "--space", "darts", "--front-end", "continuous"], ["search", "--preset", "paper"],
]  # fmt: skip


def shown(words: list[str]) -> str:
    return " ".join(x if len(x) < 30 else f"{x[:9]}…" for x in words) or "nothing"


@pytest.mark.parametrize("words", WRONG, ids=shown)
def test_wrong_usage_is_one_line_and_an_object(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--json"]) == 2
    printed = capsys.readouterr()
    message = json.loads(printed.out)
    assert (message["status"], message["error"]) == ("failed", "UsageError")
    said = printed.err.splitlines()
    assert said[0] == f"hil_nas: {message['message']}" and len(said) <= 2
    assert cli.main(words) == 2
    assert capsys.readouterr() == ("", printed.err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["serch"], "search"), (["search", "--spase", "tiny"], "--space"), (["search", "--space", "tinny"], "tiny"),
        (["verify", "x", "--max-latancy=9ms"], "--max-latency"), (["sweep", "--seed", "5"], "--seeds"),
        (["baseline", "ds_cnn"], "ds-cnn"), (["search", "--board", "nucleo-l4r5@virtul"], "virtual"),
        (["verify", "x", "--engine", "tfml"], "tflm"),
    ],
)  # fmt: skip
def test_what_was_probably_meant_is_said(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err


def test_the_ends_of_every_range_are_taken() -> None:
    read = parser().parse_args
    assert read(["serve", "x", "--tcp", "0"]).tcp == 0 and read(["serve", "x", "--tcp", "65535"]).tcp == 65535
    assert read(["search", "--seed", str(2**32 - 1), "--train-epochs", "1"]).seed == 2**32 - 1
    epochs = ["--search-epochs", "5", "--measure-every", "0", "--train-epochs", "1"]
    config = settings(SearchConfig, read(["search", *epochs]))
    assert (config.search_epochs, config.measure_every, config.train_epochs) == (5, 0, 1)
    assert read(["verify", "x", "--clips", "1"]).clips == 1 and read(["sweep", "--seeds", "1"]).seeds == 1
    assert read(["search", "--words", "yes, no"]).words == ("yes", "no")
    assert read(["search", "--board", "NUCLEO_L4R5@virtual"]).board == "nucleo-l4r5@virtual"


def test_a_profile_can_measure_as_many_networks_as_an_option_takes() -> None:
    assert parser().parse_args(["profile", "--networks", str(CANDIDATES)]).networks == CANDIDATES
    with pytest.raises(UsageError):
        parser().parse_args(["profile", "--networks", str(CANDIDATES + 1)])


def test_help_is_no_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["sweep", "--help"], ["profile", "--help"], ["doctor", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0 and "usage: hil_nas" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["search"], ["baseline", "ds-cnn"], ["sweep"], ["verify", "x"]])
def test_a_folder_of_recordings_that_is_not_there_is_told_first(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--data", "recordings"]) == 1
    said = capsys.readouterr().err
    assert ("recordings is no folder" in said or "x: cannot be read" in said) and not list(tmp_path.iterdir())


def test_recordings_are_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").mkdir()
    assert settings(SearchConfig, parser().parse_args(["search", "--data", "words"])).data == str(tmp_path / "words")


@pytest.mark.parametrize("text", ["400/200/40/²", f"400/200/40/{DIGITS}", "400/200/-40/10"])
def test_no_text_is_a_bug_of_configurations(text: str) -> None:
    with pytest.raises(InputError, match="front end"):
        parse_front_end(text)


@pytest.mark.parametrize("text", [HUGE, f"{HUGE}k", "0.5", "0.0001k"])
def test_sizes_are_whole_bytes(text: str) -> None:
    with pytest.raises(InputError, match="not a size"):
        parse_bytes(text if text.endswith("k") else f"{text}B")
    with pytest.raises(InputError, match="not a time"):
        parse_seconds(f"{HUGE}s")


def test_ctrl_c_is_an_object_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> Clips:
        raise KeyboardInterrupt

    monkeypatch.setattr("hil_nas.workflows.doctor.examine", interrupt)
    assert cli.main(["doctor", "--json"]) == 130
    assert json.loads(capsys.readouterr().out) == {"status": "interrupted", "hint": None}


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_interrupted_says_the_command_that_goes_on(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is none while no run folder is made, whatever older ones lie there."""
    runs = tmp_path / "my runs"
    Run.create(runs, "search", "of another time", {})
    monkeypatch.setattr(cli, "datetime", Later)

    def interrupt(config: Any, folders: Any, **_: Any) -> None:
        if begun:
            run = Run.create(folders.runs, "search", "x", config.to_json())
            run.write_json("environment.json", {"started": Later.now(UTC).isoformat()})
        raise KeyboardInterrupt

    monkeypatch.setattr("hil_nas.workflows.search.run_search", interrupt)
    assert cli.main(["search", "--max-ram", "64k", "--runs", str(runs)]) == 130
    said = capsys.readouterr().err
    goes_on = f"to go on from its last epoch: hil_nas search --max-ram 64k --runs '{runs}' --resume\n"
    assert (goes_on in said) is begun and "\nhil_nas: interrupted\n" in said
    ahead = "a supernet of 16 epochs, a race of short trainings, a training in full, the board"
    assert said.startswith(f"search: {ahead}\n")


class Later(datetime):
    """A clock that is an hour fast."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(hours=1)
