"""Which recordings a folder holds, which word each says, and which folder it names as its speaker.

Read are `word/file`, `word/speaker/file` and `speaker/word/file`, at any depth below. Folders called silence, unknown
and background_noise, with underscores around or without, are no words, nor is `test_set`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hil_nas.audio.decode import is_audio
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.words import TEN_WORDS

SILENCE = "silence"
UNKNOWN = "unknown"
BACKGROUND = "background_noise"
TEST_FOLDER = "test_set"

_SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}
_DEEPEST = 6  # folders within folders


@dataclass(frozen=True)
class Recording:
    """A file and what its place says of it.

    Attributes:
        name: its path within the data set, the same text on every machine.
        word: what it says, or SILENCE, UNKNOWN, BACKGROUND.
        folder: the folder beside the word's, which may be named after the speaker; empty where there is none.
    """

    path: Path
    name: str
    word: str
    folder: str

    @property
    def stem(self) -> str:
        """The file's name alone, without its ending."""
        return self.key.rpartition("/")[2]

    @property
    def key(self) -> str:
        """The name as lists and tables are looked up by."""
        return key_of(self.name)


@dataclass(frozen=True)
class DataFolder:
    """Recordings, words and empty folders of a data set.

    Attributes:
        recordings: in the order of their names.
        words: every word's number of recordings, 0 for a folder without any.
        empty: the folders without any recording.
    """

    folder: Path
    recordings: tuple[Recording, ...]
    words: dict[str, int]
    empty: tuple[str, ...]

    def of(self, word: str) -> list[Recording]:
        return [x for x in self.recordings if x.word == word]


def key_of(name: str) -> str:
    """A path within a data set without its ending: lists and tables say .wav also where clips are kept as FLAC."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and "/" not in ending else name


def listed_key(text: str) -> str:
    """The key of a path as it stands in a list or table."""
    return key_of(str(PurePosixPath(plain_name(text.strip().replace("\\", "/")))))


def role(name: str) -> str:
    """A folder's word: its name, or SILENCE, UNKNOWN or BACKGROUND however they are written."""
    plain = plain_name(name)
    bare = plain.strip("_").lower().replace(" ", "_").replace("-", "_")
    return bare if bare in (SILENCE, UNKNOWN, BACKGROUND) else plain


def is_word(name: str) -> bool:
    return name not in (SILENCE, UNKNOWN, BACKGROUND)


def find_recordings(folder: Path, keywords: Sequence[str] = ()) -> DataFolder:
    """Every recording below a folder; reads names only.

    Args:
        asked: the keywords; where words and speakers are both folders, they show which of the two a folder is.

    Raises:
        InputError: for a missing folder, one without recordings, or one where words and speakers look the same.
    """
    if not folder.is_dir():
        raise InputError(f"{plain_name(folder)} is no folder, expected one with a subfolder per word")
    tops = [x for x in _subfolders(folder) if x.name != TEST_FOLDER]
    below = {x: list(_walk(x, ())) for x in tops}
    at = _word_level(folder, below, keywords)
    recordings = []
    words = {} if at else {role(x.name): 0 for x in tops if is_word(role(x.name))}
    for top, files in below.items():
        for parts, path in files:
            folders = (plain_name(top.name), *parts)
            level = 0 if at == 0 or not is_word(role(top.name)) else 1
            word = role(folders[level])
            beside = folders[1 - level] if len(folders) > 1 else ""
            recordings.append(Recording(path, "/".join((*folders, plain_name(path.name))), word, beside))
            if is_word(word):
                words[word] = words.get(word, 0) + 1
    if not any(words.values()):
        raise InputError(
            f"{plain_name(folder)} has no subfolder with recordings, expected one per word",
            hint="lay the clips out as <folder>/<word>/<clip>.wav",
        )
    empty = tuple(plain_name(x.name) for x, files in below.items() if not files)
    return DataFolder(folder, tuple(sorted(recordings, key=_order)), words, empty)


def find_test_set(folder: Path) -> list[Recording]:
    """The recordings of `test_set/<class>/`, as the official 12-class test set is laid out."""
    top = folder / TEST_FOLDER
    recordings = []
    for sub in _subfolders(top) if top.is_dir() else ():
        for parts, path in _walk(sub, ()):
            name = "/".join((TEST_FOLDER, plain_name(sub.name), *parts, plain_name(path.name)))
            recordings.append(Recording(path, name, role(sub.name), parts[0] if parts else ""))
    return sorted(recordings, key=_order)


def _order(recording: Recording) -> list[str]:
    return recording.name.split("/")


def _subfolders(folder: Path) -> list[Path]:
    """Visible folders; `__MACOSX` and its like are what archives leave behind."""
    return [path for path, is_folder in _listed(folder) if is_folder and not path.name.startswith("__")]


def _listed(folder: Path) -> list[tuple[Path, bool]]:
    """What a folder shows, in the order of the names' bytes, and whether each is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            visible = [(folder / x.name, x.is_dir()) for x in entries if not x.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{plain_name(folder)} cannot be read: {error.strerror}") from None
    return sorted(visible, key=lambda x: os.fsencode(x[0].name))


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Audio files with the folders between; a link to what lies above it ends at the deepest level."""
    for path, is_folder in _listed(folder):
        if is_folder and len(parts) < _DEEPEST:
            yield from _walk(path, (*parts, plain_name(path.name)))
        elif is_audio(path) and not is_folder:
            yield parts, path


def _word_level(folder: Path, below: dict[Path, list[tuple[tuple[str, ...], Path]]], keywords: Sequence[str]) -> int:
    """0 for `word/...`, 1 for `speaker/word/...`."""
    nested = {top: files for top, files in below.items() if is_word(role(top.name)) and files}
    splits = {plain_name(x.name) for x in nested} & _SPLIT_FOLDERS - set(keywords)
    if not nested or any(not parts for files in nested.values() for parts, _ in files):
        return 0
    if len(splits) > 1:
        raise InputError(
            f"{plain_name(folder)} has a folder for each split ({', '.join(sorted(splits))}), expected one for a word",
            hint="put the words side by side, and name the clips of two splits in validation_list.txt and "
            "testing_list.txt",
        )
    subs = {parts[0] for files in nested.values() for parts, _ in files}
    top_score, sub_score = (_wordlike({role(x) for x in names}, keywords) for names in ({x.name for x in below}, subs))
    if top_score != sub_score:
        return int(sub_score > top_score)
    if not keywords and len(subs) > 1:
        top, files = next(iter(nested.items()))
        raise InputError(
            f"{plain_name(folder)} has folders in folders, like {plain_name(top.name)}/{files[0][0][0]}, "
            "and either could be the word",
            hint="name the words with --words",
        )
    return 0


def _wordlike(names: set[str], keywords: Sequence[str]) -> int:
    """How many of the names are surely no speaker's."""
    usual = TEN_WORDS if set(TEN_WORDS) <= names else ()
    return len(names & {SILENCE, UNKNOWN, *(keywords or usual)})
