"""Who speaks in each recording, according to a table, the file's name or a folder.

No speaker may stand in two splits, or validation and test measure how well voices are remembered. So where a name may
be a speaker's, it is taken for one: taking more for speakers than there are costs nothing but even splits.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from hil_nas.audio.layout import Recording, is_word, listed_key
from hil_nas.errors import InputError
from hil_nas.files import plain_name

TABLE = "speakers.csv"
_TABLES = (TABLE, "validated.tsv", "*_splits.csv")  # beside ours: Mozilla Common Voice's, Multilingual Spoken Words'
_FILE_COLUMNS = ("file", "path", "link", "filename")
_SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
_NOBODY = ("", "NA")

_OFFICIAL = re.compile(r"(?:.*_)?([0-9a-f]{8})_nohash_|(.+?)_nohash_")
_LIBRISPEECH = re.compile(r"(\d+)-\d+-\d+")
_COMMON_VOICE = "common_voice_"  # numbered by clip: only a table knows the speakers
_BETWEEN = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_NUMBERED = re.compile(r"([^\W\d]+)(\d+)")
_TAKES = {"take", "rec", "recording", "clip", "sample", "utt", "mic", "no", "nr", "copy"}
_LONGEST_NUMBER = 4  # digits of a speaker's number: longer ones are dates and times


def find_speakers(folder: Path, recordings: Sequence[Recording]) -> list[str | None]:
    """The speaker of each recording, None where nothing says it; letters and digits alone, so that `Anna Maria` in a
    table is `anna_maria` in a name.

    A table counts before `_nohash_` in the name, that before a folder, that before the other words of the name; but
    where each folder holds one name, several folders may be one speaker's.

    Raises:
        InputError: for a table that cannot be read, contradicts itself, or names none of the recordings.
    """
    table = _read_tables(folder, recordings)
    speakers = [table[x.name] or None if x.name in table else official_speaker(x.stem) for x in recordings]
    left = [i for i, x in enumerate(recordings) if speakers[i] is None and x.name not in table]
    unnamed = [recordings[i] for i in left]
    folders = _trusted(unnamed, [x.folder or None for x in unnamed])  # not where every word has one only, like `wav/`
    names = _of_names(unnamed, {_plain(x) for x in (*speakers, *folders) if x})
    if _one_each(folders, names):
        folders = [None] * len(unnamed)
    for i, beside, name in zip(left, folders, names, strict=True):
        speakers[i] = beside or name
    return [x and _plain(x) for x in speakers]


def official_speaker(stem: str) -> str | None:
    """The speaker in names of Speech Commands; its test archive puts the word before it."""
    match = _OFFICIAL.match(stem)
    return match and (match[1] or match[2])


def librispeech_speaker(stem: str) -> str | None:
    """The speaker in names of LibriSpeech: speaker-chapter-utterance."""
    match = _LIBRISPEECH.fullmatch(stem)
    return match and match[1]


def _plain(speaker: str) -> str:
    return "".join(re.findall(r"[^\W_]+", speaker.casefold())) or speaker


def _one_each(folders: Sequence[str | None], names: Sequence[str | None]) -> bool:
    """Whether every recording has a name and every folder one of them."""
    by_folder: dict[str | None, set[str | None]] = defaultdict(set)
    for folder, name in zip(folders, names, strict=True):
        by_folder[folder].add(name)
    return all(len(x) == 1 and None not in x for folder, x in by_folder.items() if folder)


def _of_names(recordings: Sequence[Recording], known: set[str]) -> list[str | None]:
    """The part of a name that is neither the word nor the take, as in `alice_lamp_03` and `lamp_alice_3`, where another
    recording has it too; else a speaker who is known and mentioned."""
    for bare in (True, False):  # `lamp_alice1` is a take of alice where there is a bob too; `lamp_spk1` is spk1
        parts = [_tokens(x, bare) for x in recordings]
        labels = _labels(recordings, parts)
        rests = [[z for z in y if z not in labels[x.word]] for x, y in zip(recordings, parts, strict=True)]
        guesses = _likeliest(recordings, rests)
        counts = Counter(guesses)
        guesses = _trusted(recordings, [x if counts[x] > 1 else None for x in guesses])
        if any(guesses):
            break
    known = known | {_plain(x) for x in guesses if x}
    return [x or _mentioned(rest, known) for x, rest in zip(guesses, rests, strict=True)]


def _likeliest(recordings: Sequence[Recording], rests: Sequence[list[str]]) -> list[str | None]:
    """Of several parts of each name, as in `alice_lamp_far_03`, the one that takes most values, if recordings share
    them; the first where names have not equally many parts."""
    letters = [[] if x.stem.startswith(_COMMON_VOICE) else [z for z in y if not z.isdigit()]
               for x, y in zip(recordings, rests, strict=True)]  # fmt: skip
    named = [x for x in letters if x]
    index = 0
    if len({len(x) for x in named}) == 1:
        index = max(range(len(named[0])), key=lambda i: (_shared_values([x[i] for x in named]), -i))
    return [y[index] if y else _number(x, rest) for x, y, rest in zip(recordings, letters, rests, strict=True)]


def _shared_values(values: Sequence[str]) -> int:
    """How many values there are, 0 where most are of one recording."""
    counts = Counter(values)
    return len(counts) if 2 * sum(x for x in counts.values() if x > 1) >= len(values) else 0


def _number(recording: Recording, rest: Sequence[str]) -> str | None:
    """Which of several numbers, as in `lamp_03_01`, is the speaker's: the first, unless it is a date or a time."""
    if speaker := librispeech_speaker(recording.stem):
        return speaker
    several = len(rest) > 1 and not recording.stem.startswith(_COMMON_VOICE)
    return rest[0] if several and len(rest[0]) <= _LONGEST_NUMBER else None


def _trusted(recordings: Sequence[Recording], guesses: list[str | None]) -> list[str | None]:
    """The guesses, if some word has two speakers: what a whole word shares is no speaker, or its only one."""
    by_word: dict[str, set[str]] = defaultdict(set)
    for recording, guess in zip(recordings, guesses, strict=True):
        if guess:
            by_word[recording.word].add(guess)
    return guesses if any(len(x) > 1 for x in by_word.values()) else [None] * len(guesses)


def _tokens(recording: Recording, bare: bool) -> list[str]:
    """The parts of a file's name without the word, and with a take's number for itself: alice and 3 of `AliceLamp3`.

    Args:
        bare: whether a number right behind the only name is a take's.
    """
    own = _parts(recording.word) if is_word(recording.word) else []
    parts = _parts(recording.stem)
    if parts and (match := _NUMBERED.fullmatch(parts[-1])):
        letters, number = match[1], match[2]
        others = any(x not in own and not x.isdigit() for x in parts[:-1])
        if letters in (*own, *_TAKES) or (bare and not others and len(letters) > 1 and len(number) < 4):
            parts[-1:] = [letters, number]
        elif others and len(letters) == 1:  # `alice_t3`
            parts[-1:] = [number]
    for start in range(len(parts) - len(own) + 1 if own else 0):
        if parts[start : start + len(own)] == own:
            parts = parts[:start] + parts[start + len(own) :]
            break
    return [x for x in parts if x not in _TAKES]


def _parts(text: str) -> list[str]:
    return [x.casefold() for x in _BETWEEN.split(text) if x]


def _labels(recordings: Sequence[Recording], tokens: Sequence[list[str]]) -> dict[str, set[str]]:
    """By word, what all its files' names share and no other word's: another way to write the word, like 7 for seven."""
    shared: dict[str, set[str]] = {}
    seen: dict[str, set[str]] = defaultdict(set)
    for recording, parts in zip(recordings, tokens, strict=True):
        shared[recording.word] = shared.get(recording.word, set(parts)) & set(parts)
        for token in parts:
            seen[token].add(recording.word)
    several = len(shared) > 1
    return {word: {x for x in parts if several and seen[x] == {word}} for word, parts in shared.items()}


def _mentioned(rest: list[str], known: set[str]) -> str | None:
    """The one known speaker whose name is among the parts, as for other words in a folder called unknown."""
    mentioned = {x for x in rest if x in known and not x.isdigit()}
    return mentioned.pop() if len(mentioned) == 1 else None


def _read_tables(folder: Path, recordings: Sequence[Recording]) -> dict[str, str]:
    """The speaker by a recording's name, empty where a table leaves it open; of two tables the first counts."""
    speaker_of: dict[str, str] = {}
    for pattern in _TABLES:
        for path in sorted(folder.glob(pattern)):
            own = _read_table(path, recordings)
            if pattern == TABLE and not own:
                raise InputError(
                    f"{plain_name(path)} names none of the recordings in {plain_name(folder)}",
                    hint="write one `word/file.wav,speaker` a line",
                )
            speaker_of = {**own, **speaker_of}
    return speaker_of


def _read_table(path: Path, recordings: Sequence[Recording]) -> dict[str, str]:
    keys: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        keys[recording.key].append(recording)
        keys[recording.stem].append(recording)
    speaker_of: dict[str, str] = {}
    for line, file, speaker in _rows(path):
        for recording in keys.get(listed_key(file), ()):
            if speaker_of.setdefault(recording.name, speaker) != speaker:
                raise InputError(
                    f"{plain_name(path)}, line {line}: {recording.name} is by '{speaker}', before by "
                    f"'{speaker_of[recording.name]}'",
                    hint="name each file once, with its folder where two have one name",
                )
    return speaker_of


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, file and speaker: columns by their heads; the first two of ours where it has none."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            first = text.readline()
            text.seek(0)
            rows = csv.reader(text, delimiter=max(",;\t", key=first.count))
            columns = _columns(first, rows.dialect.delimiter)
            if columns:
                next(rows)
            elif path.name != TABLE:
                return
            file, speaker = columns or (0, 1)
            for row in rows:
                if len(row) > max(file, speaker):
                    name = plain_name(row[speaker].strip())
                    yield rows.line_num, row[file], "" if name in _NOBODY else name
                elif any(row):
                    raise InputError(
                        f"{plain_name(path)}, line {rows.line_num}: '{plain_name(row[0])}' has no speaker beside it",
                        hint="write one `word/file.wav,speaker` a line, the speaker empty where it is not known",
                    )
    except (OSError, csv.Error) as error:
        raise InputError(f"{plain_name(path)} cannot be read: {error}", hint="restore the table or remove it") from None


def _columns(line: str, delimiter: str) -> tuple[int, int] | None:
    heads = [x.strip().lower() for x in next(csv.reader([line], delimiter=delimiter), [])]
    files = [i for i, x in enumerate(heads) if x in _FILE_COLUMNS]
    speakers = [i for i, x in enumerate(heads) if x in _SPEAKER_COLUMNS]
    return (files[0], speakers[0]) if files and speakers else None
