"""No speaker in two splits: who speaks, found in names, folders and tables, and whole speakers divided."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_nas.audio.datasets import load_speech_commands
from hil_nas.audio.layout import Recording, find_recordings
from hil_nas.audio.speakers import find_speakers
from hil_nas.audio.splits import split_recordings, which_set
from hil_nas.errors import InputError
from tests.recordings import PEOPLE, in_two, people_in, record, splits_of

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = ("1", "2", "3", "4")


def hashed(*of: object) -> str:
    return hashlib.md5(repr(of).encode(), usedforsecurity=False).hexdigest()[:8]


def named(pattern: str, people: tuple[str, ...] = PEOPLE, takes: int = 3, words: dict[str, str] | None = None) -> list[
    tuple[str, Recording]
]:
    """Recordings under names made by a pattern, with who speaks; `says` is how the files write the word."""
    recordings = []
    for word, says in (words or {"lamp": "lamp", "music": "music"}).items():
        for person, take in itertools.product(people, range(takes)):
            unique = hashed(word, person, take)
            count = 10 * people.index(person) + take
            name = pattern.format(
                word=word, says=says, person=person, take=take, unique=unique, count=count, even=take % 2,
                Person=person.capitalize(), Says=says.capitalize(), official=hashed(person),
            )  # fmt: skip
            folder = name.split("/")[1] if name.count("/") == 2 else ""
            recordings.append((person, Recording(Path(name), name, word, folder)))
    return recordings


@pytest.mark.parametrize(
    ("pattern", "more"),
    [
        ("{word}/{official}_nohash_{take}.wav", {}),
        ("{word}/{says}_{official}_nohash_{take}.wav", {}),
        ("{word}/{person}_{says}_{take:02d}.wav", {}),
        ("{word}/{says}_{person}_{take:02d}.wav", {}),
        ("{word}/{says}-{person}-take{take}.mp3", {}),
        ("{word}/{person}_{says}_t{take}.wav", {}),
        ("{word}/{person}_{says}{take}.wav", {}),
        ("{word}/{Person}{Says}{take}.wav", {}),
        ("{word}/{Says}{Person}0{take}.wav", {}),
        ("{word}/{person}_{take}.wav", {}),
        ("{word}/{person} ({take}).wav", {}),
        ("{word}/{person}{take}.wav", {}),
        ("{word}/{person}_smith_{says}_{take}.wav", {}),
        ("{word}/{person}_{says}_far{even}_{take}.wav", {}),
        ("{word}/far{even}_{says}_{person}_{take}.wav", {}),
        ("{word}/{person}_{says}_{even}_{take}.wav", {}),
        ("{word}/{person}_{says}_{take} - Copy (2).wav", {}),
        ("{word}/{person}_{says}_{unique}.wav", {}),
        ("{word}/rec_{person}_{says}_2023-05-01_{take}.wav", {}),
        ("{word}/p22{person}_00{take}_mic1.flac", {"people": NUMBERS}),
        ("{word}/{person}_{says}_{even}_{take}.wav", {"people": NUMBERS}),
        ("{word}/{person}_{says}.wav", {"takes": 1}),
        ("{word}/{person}.wav", {"takes": 1}),
        ("{word}/{says}_{person}_{take}.wav", {"people": NUMBERS}),
        ("{word}/{person}_{says}_{take}.wav", {"people": NUMBERS}),
        ("{word}/{says}_spk{person}.wav", {"people": NUMBERS, "takes": 1}),
        ("{word}/S00{person}_{says}_{take}.wav", {"people": NUMBERS}),
        ("{word}/p22{person}_00{take}.wav", {"people": NUMBERS}),
        ("{word}/{person}-1240-000{take}.flac", {"people": ("103", "1040", "19", "26")}),
        ("{word}/{says}_{person}_{take}.wav", {"words": {"seven": "7", "eight": "8"}}),
        ("{word}/{person}_{says}_{take}.wav", {"words": {"lamp": "lampe", "music": "musik"}}),
        ("{word}/{person}_{says}_{take}.wav", {"words": {"turn on": "turn_on", "turn off": "turn_off"}}),
        ("{word}/{person}_{says}_{take}.wav", {"words": {"on": "on", "no": "no"}, "people": ("simon", "nora", "ono")}),
        ("{word}/{person}/{take:02d}.wav", {}),
        ("{word}/{person}/{unique}.wav", {}),
        ("{word}/{person}/{Person} {take}.wav", {}),
        ("{word}/{person}/far_{take}.wav", {}),
        ("{word}/{unique}/{person}_{says}_{take}.wav", {}),
    ],
)
def test_a_speaker_is_found_and_is_one_in_every_word(tmp_path: Path, pattern: str, more: dict) -> None:
    cases = named(pattern, **more)
    speakers = find_speakers(tmp_path, [x for _, x in cases])
    one_to_one = {(person, speaker) for (person, _), speaker in zip(cases, speakers, strict=True)}
    assert None not in speakers and len(one_to_one) == len(set(speakers)) == len({x for x, _ in cases})


@pytest.mark.parametrize(
    "pattern",
    [
        "{word}/take {count}.wav", "{word}/{count:03d}.wav", "{word}/{says}_{count:03d}.wav", "{word}/{unique}.wav",
        "{word}/{says}.{unique}.wav", "{word}/{says}_20230501_1230{count}.wav", "{word}/2023-05-01 12-30-{count}.wav",
        "{word}/common_voice_en_1{count}.mp3", "{word}/New Recording {count}.wav", "{word}/wav/{count}.wav",
        "{word}/alice_{says}_{count}.wav",
    ],
)  # fmt: skip
def test_where_nobody_is_named_nobody_is_made_up(tmp_path: Path, pattern: str) -> None:
    assert set(find_speakers(tmp_path, [x for _, x in named(pattern)])) == {None}


def test_other_words_of_a_known_speaker_are_theirs(tmp_path: Path) -> None:
    cases = named("{word}/{person}_{says}_{take}.wav")
    others = [Recording(Path("x"), f"unknown/{x}_banana_7.wav", "unknown", "") for x in (*PEOPLE, "zoe")]
    speakers = find_speakers(tmp_path, [*(x for _, x in cases), *others])
    assert speakers[len(cases) :] == [*PEOPLE, None]


@pytest.mark.parametrize(
    "pattern",
    [
        "{word}/{person}_{word}_{take:02d}.wav", "{word}/{word}_{person}_{take:02d}.wav", "{word}/{person}_{take}.wav",
        "{word}/{person}/{take}.wav", "{person}/{word}/{take}.wav", "{person}/{word}/today/{take}.wav",
    ],
)  # fmt: skip
def test_eight_people_are_enough_for_three_splits_of_whole_people(tmp_path: Path, pattern: str) -> None:
    record(tmp_path, ["lamp", "music", "other"], pattern, takes=4)
    splits = splits_of(tmp_path, ["lamp", "music"])
    people = people_in(splits)
    assert not in_two(people)
    assert [len(people[x]) for x in ("train", "validation", "test")] == [6, 1, 1]
    data = load_speech_commands(tmp_path, words=["lamp", "music"])
    assert data.findings.speakers == {"train": 6, "validation": 1, "test": 1}
    assert data.findings.clips_without_speaker == 0 and not data.findings.warnings
    assert data.classes == ("lamp", "music", "silence", "unknown")
    for split, count in (("train", 24), ("validation", 4), ("test", 4)):
        assert np.bincount(data.split(split).labels)[:2].tolist() == [count, count]


@pytest.mark.parametrize("people", [3, 4, 5, 8])
def test_few_people_in_official_names_are_enough_too(tmp_path: Path, people: int) -> None:
    """The official hash alone would leave splits of so few without a speaker."""
    for seed in range(12):
        some = [hashed(seed, x) for x in range(people)]
        cases = [Recording(Path("x"), f"{w}/{x}_nohash_{i}.wav", w, "") for w in "ab" for x in some for i in range(4)]
        splits = split_recordings(tmp_path, cases, find_speakers(tmp_path, cases))
        held = {(x.name.split("/")[1][:8], split) for x, split in zip(cases, splits, strict=True)}
        assert len(held) == people and {split for _, split in held} == {"train", "validation", "test"}


def test_one_name_without_a_speaker_moves_nobody(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], "{word}/{person}_nohash_{take}.wav", people=[hashed(x) for x in range(40)])
    before = splits_of(tmp_path)
    shutil.copy(tmp_path / "lamp" / f"{hashed(0)}_nohash_0.wav", tmp_path / "lamp" / "extra.wav")
    after = splits_of(tmp_path)
    assert all(before[x] == after[x] - {"lamp/extra.wav"} for x in before)
    assert all(which_set(x) == split for split in before for x in before[split])


def test_one_who_recorded_much_is_not_held_out(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], people=PEOPLE[:5], takes=4)
    record(tmp_path, ["lamp", "music"], people=["zoe"], takes=60)
    people = people_in(splits_of(tmp_path), (*PEOPLE, "zoe"))
    assert not in_two(people) and "zoe" in people["train"]


def test_where_nobody_is_known_it_is_said(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], "{word}/{word}{take:03d}.wav", people=["nobody"], takes=40)
    data = load_speech_commands(tmp_path)
    assert data.findings.clips_without_speaker == 80 and not any(data.findings.speakers.values())
    (warning,) = data.findings.warnings
    assert warning.startswith("no speaker is known of 80 of 80 clips") and "speakers.csv" in warning
    assert [np.bincount(data.split(x).labels)[:2].tolist() for x in ("train", "validation", "test")] == [
        [32, 32], [4, 4], [4, 4],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        "file,speaker\r\n{rows}", "\ufefffile;speaker\n{rows}", "{rows}", "speaker_id\tlength\tpath\n{turned}",
    ],
)  # fmt: skip
def test_a_table_says_who_speaks(tmp_path: Path, table: str) -> None:
    record(tmp_path, ["lamp", "music"], "{word}/{take:03d}.wav", people=["nobody"], takes=40)
    by = "\t" if "\t" in table else ";" if ";" in table else ","
    names = [f"{w}/{i:03d}.wav" for w in ("lamp", "music") for i in range(40)]
    people = [PEOPLE[i % 8] for w in range(2) for i in range(40)]
    rows = "".join(f"{x}{by}{y}\n" for x, y in zip(names, people, strict=True))
    turned = "".join(f"{y}\t1\t{x}\n" for x, y in zip(names, people, strict=True))
    (tmp_path / "speakers.csv").write_text(table.format(rows=rows, turned=turned), encoding="utf-8")
    splits = splits_of(tmp_path)
    held = {split: {PEOPLE[int(x[-7:-4]) % 8] for x in paths} for split, paths in splits.items()}
    assert not in_two(held) and [len(held[x]) for x in ("train", "validation", "test")] == [6, 1, 1]


def test_tables_of_common_voice_and_of_multilingual_spoken_words_are_read(tmp_path: Path) -> None:
    files = [Recording(Path("x"), f"lamp/common_voice_en_{i}.opus", "lamp", "") for i in range(12)]
    (tmp_path / "en_splits.csv").write_text(
        "SET,LINK,WORD,VALID,SPEAKER,GENDER\n"
        + "".join(f"TRAIN,lamp/common_voice_en_{i}.opus,lamp,True,{hashed(i % 3)},NAN\n" for i in range(6))
        + "TEST,lamp/common_voice_en_6.opus,lamp,False,NA,NAN\nTEST,elsewhere/common_voice_en_99.opus,x,True,abc,NAN\n"
    )
    (tmp_path / "validated.tsv").write_text(
        "client_id\tpath\tsentence\n" + "".join(f"{hashed(i)}\tcommon_voice_en_{i}.mp3\tLamp\n" for i in range(7, 11))
    )
    speakers = find_speakers(tmp_path, files)
    assert speakers == [*(hashed(i % 3) for i in range(6)), None, *(hashed(i) for i in range(7, 11)), None]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,speaker\nlamp/alice_lamp_00.wav\n", "line 2: 'lamp/alice_lamp_00.wav' has no speaker"),
        ("lamp/alice_lamp_00.wav,alice\nlamp/alice_lamp_00.flac,bob\n", "line 2: .* is by 'bob', before by 'alice'"),
        ("file,speaker\nother/file.wav,alice\n", "names none of the recordings"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, table: str, says: str) -> None:
    record(tmp_path, ["lamp"])
    (tmp_path / "speakers.csv").write_text(table)
    with pytest.raises(InputError, match=says):
        load_speech_commands(tmp_path)


def test_a_table_overrules_names_and_may_leave_a_speaker_open(tmp_path: Path) -> None:
    files = [x for _, x in named("{word}/{person}_{says}_{take}.wav")]
    (tmp_path / "speakers.csv").write_text(f"{files[0].name},Anna Maria\n{files[1].name},\n")
    assert find_speakers(tmp_path, files)[:3] == ["annamaria", None, "alice"]


def test_too_few_people_are_refused_with_what_to_do(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], people=PEOPLE[:2], takes=20)
    says = r"lamp: .* leaves no validation clip of its 40 by 2 speakers .alice, bob."
    with pytest.raises(InputError, match=says) as caught:
        load_speech_commands(tmp_path)
    assert caught.value.hint and "at least 3" in caught.value.hint and "speakers.csv" in caught.value.hint


def write_lists(folder: Path, splits: dict[str, set[str]]) -> None:
    for split, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        (folder / name).write_text("".join(f"{x}\n" for x in sorted(splits[split])))


def official(folder: Path, people: int = 60) -> dict[str, set[str]]:
    """Words of Speech Commands with its published lists; the names in each split."""
    some = [hashed("official", x) for x in range(people)]
    record(folder, ["yes", "no", "follow"], "{word}/{person}_nohash_{take}.wav", people=some, takes=1)
    splits = splits_of(folder)
    assert all(which_set(x) == split for split in splits for x in splits[split])
    write_lists(folder, splits)
    return splits


@pytest.mark.parametrize("pattern", ["{word}/{person}_{word}_{take}.wav", "{word}/{person}_nohash_{take}.wav"])
def test_an_own_word_beside_published_lists_is_split_by_speaker(tmp_path: Path, pattern: str) -> None:
    before = official(tmp_path)
    record(tmp_path, ["lamp"], pattern)
    after = splits_of(tmp_path)
    people = people_in(after)
    assert not in_two(people) and all(people.values())
    assert all(before[x] == {y for y in after[x] if not y.startswith("lamp/")} for x in before)
    data = load_speech_commands(tmp_path, words=["lamp", "yes"])
    assert min(np.bincount(data.split(x).labels)[0] for x in ("train", "validation", "test")) >= 5


def test_who_adds_to_a_published_word_and_an_own_stays_in_one_split(tmp_path: Path) -> None:
    before = official(tmp_path)
    record(tmp_path, ["lamp", "yes"])
    after = splits_of(tmp_path)
    assert not in_two(people_in(after))
    assert all(before[x] <= after[x] for x in before)
    one = sorted(x for x in before["test"] if x.startswith("yes/"))[0].split("/")[1]
    shutil.copy(tmp_path / "yes" / one, tmp_path / "lamp" / one.replace("_0.", "_9."))
    assert f"lamp/{one.replace('_0.', '_9.')}" in splits_of(tmp_path)["test"]


def test_own_lists_keep_their_speakers_and_leave_the_rest_to_training(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    lists = {"validation": {"lamp/alice_lamp_00.wav"}, "test": {f"lamp/bob_lamp_0{i}.wav" for i in range(5)}}
    write_lists(tmp_path, lists)
    (tmp_path / "testing_list.txt").write_text("\ufeff" + "".join(f"{x}\r\n".replace("/", "\\") for x in lists["test"]))
    people = people_in(splits_of(tmp_path))
    assert not in_two(people) and people["validation"] >= {"alice"} and people["test"] >= {"bob"}
    write_lists(tmp_path, {**lists, "test": {*lists["test"], "lamp/alice_lamp_01.wav", "music/carol_music_00.wav"}})
    data = load_speech_commands(tmp_path, words=["lamp"])
    assert any(x == "the lists put speakers into two splits: alice" for x in data.findings.warnings)


def test_the_split_is_of_the_folder_alone(tmp_path: Path) -> None:
    """Neither the words that are asked, nor where the folder lies, nor how a file system composes its letters."""
    record(tmp_path / "a", ["lámpa", "music", "éclair"], people=["zoé", *PEOPLE])
    first = splits_of(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    for path in sorted((tmp_path / "b" / "c").rglob("*"), reverse=True):
        os.rename(path, path.with_name(path.name.replace("é", "e\u0301").replace("á", "a\u0301")))
    assert splits_of(tmp_path / "b" / "c", ["lámpa"]) == first
    same = [load_speech_commands(tmp_path / x, words=["lámpa", "éclair"]) for x in ("a", "b/c")]
    assert same[0].digest == same[1].digest and same[0].classes[:2] == ("lámpa", "éclair")
    shown = "import sys; from pathlib import Path; from tests.recordings import splits_of; " + (
        "print(ascii(sorted((k, sorted(v)) for k, v in splits_of(Path(sys.argv[1])).items())))"
    )
    elsewhere = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", shown, tmp_path / "a"]
    done = subprocess.run(command, cwd=ROOT, env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(sorted((k, sorted(v)) for k, v in first.items()))


people_of_words = st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(words=people_of_words, takes=st.lists(st.integers(1, 5), min_size=7, max_size=7))
def test_every_word_is_in_every_split_where_three_people_say_it(
    tmp_path_factory: pytest.TempPathFactory, words: list[set[int]], takes: list[int]
) -> None:
    """Where an exact search finds no such division either, only that no speaker is in two."""
    cases = [
        Recording(Path("x"), f"w{w}/{p}_{i}.wav", f"w{w}", "") for w, said in enumerate(words) for p in said
        for i in range(takes[p])
    ]  # fmt: skip
    speakers = [f"s{x.name.split('/')[1][0]}" for x in cases]
    splits = split_recordings(Path("/nonexistent"), cases, speakers)
    placed = dict(zip(speakers, splits, strict=True))
    assert all(placed[x] == y for x, y in zip(speakers, splits, strict=True))
    spoken = [{f"s{x}" for x in said} for said in words if len(said) >= 3]
    if any(len({placed[x] for x in said}) < 3 for said in spoken):
        everyone = sorted(set(speakers))
        for choice in itertools.product(range(3), repeat=len(everyone)):
            to = dict(zip(everyone, choice, strict=True))
            assert any(len({to[x] for x in said}) < 3 for said in spoken)


def test_the_layout_keeps_the_folder_of_the_speaker(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], "{person}/{word}/{take}.wav", takes=1)
    (tmp_path / "_background_noise_").mkdir()
    shutil.copy(tmp_path / "alice" / "lamp" / "0.wav", tmp_path / "_background_noise_" / "fan.wav")
    layout = find_recordings(tmp_path, ["lamp"])
    assert layout.words == {"lamp": 8, "music": 8}
    assert {x.folder for x in layout.of("lamp")} == set(PEOPLE) and len(layout.of("background_noise")) == 1
