"""Which split a clip belongs to: by published lists, by the official hash of the speaker, or by file.

No speaker may stand in two splits, or validation and test measure how well voices are remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hil_nas.errors import InputError

Split = Literal["train", "validation", "test"]

VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
_SPEAKER_MARK = "_nohash_"
_PERCENT = 10.0  # of validation and of test each, as Speech Commands
_OFFICIAL_MODULUS = 2**27  # MAX_NUM_WAVS_PER_CLASS + 1


def which_set(name: str, validation_percent: float = _PERCENT, testing_percent: float = _PERCENT) -> Split:
    """The official rule of Speech Commands: by SHA-1 of the speaker, so that new clips move no old ones.

    Args:
        name: a file name like `0a7c2a8d_nohash_0.wav`; folders and what follows the speaker are ignored.

    Source: the data set's README, `which_set`; arXiv:1804.03209.
    """
    speaker = Path(name).name.split(_SPEAKER_MARK)[0]
    digest = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = (digest % _OFFICIAL_MODULUS) * (100.0 / (_OFFICIAL_MODULUS - 1))
    if percent < validation_percent:
        return "validation"
    return "test" if percent < testing_percent + validation_percent else "train"


def split_files(folder: Path, words: dict[str, list[Path]]) -> dict[str, dict[Split, list[Path]]]:
    """The files of every word by split.

    The folder's own lists decide where it has them; where it has only one, a tenth of the other speakers
    becomes the split that is not listed. With no list, the official hash decides where all names carry a
    speaker; else every word is divided 80:10:10 by a hash of its files' names.

    Args:
        words: files by word; each file stands in `folder/<word>/`.

    Raises:
        InputError: for a list that names no file of the folder.
    """
    validation = _read_list(folder / VALIDATION_LIST, words)
    testing = _read_list(folder / TESTING_LIST, words)
    if validation is None and testing is None and not _speakers_known(words):
        return {word: _by_rank(word, files) for word, files in words.items()}
    result: dict[str, dict[Split, list[Path]]] = {}
    for word, files in words.items():
        result[word] = {"train": [], "validation": [], "test": []}
        for path in files:
            result[word][_split_of(f"{word}/{path.stem}", validation, testing)].append(path)
    return result


def _split_of(key: str, validation: set[str] | None, testing: set[str] | None) -> Split:
    if validation is None and testing is None:
        return which_set(key)
    if testing is not None and key in testing:
        return "test"
    if validation is not None and key in validation:
        return "validation"
    # the list that is missing is made up for by a hash of the speaker
    if testing is None:
        return "test" if _rank(_speaker(key)) < _PERCENT / 100 else "train"
    if validation is None:
        return "validation" if _rank(_speaker(key)) < _PERCENT / 100 else "train"
    return "train"


def _read_list(path: Path, words: dict[str, list[Path]]) -> set[str] | None:
    """The clips a list names, as `word/stem`: lists say .wav also where the clips are kept as FLAC."""
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})", hint="restore the list or remove it") from None
    names = {str(Path(line.strip()).with_suffix("")) for line in lines if line.strip()}
    known = {f"{word}/{file.stem}" for word, files in words.items() for file in files}
    if names and not names & known:
        raise InputError(
            f"{path} names {len(names)} clips, none of which is in {path.parent}",
            hint="write one `word/file.wav` a line, or remove the list",
        )
    return names


def _speakers_known(words: dict[str, list[Path]]) -> bool:
    return all(_SPEAKER_MARK in path.name for files in words.values() for path in files)


def _speaker(key: str) -> str:
    return key.split("/")[-1].split(_SPEAKER_MARK)[0]


def _rank(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(b"split:" + text.encode()).digest()[:6], "big") / 2**48


def _by_rank(word: str, files: Sequence[Path]) -> dict[Split, list[Path]]:
    ordered = sorted(files, key=lambda path: (_rank(f"{word}/{path.name}"), path.name))
    held = max(1, round(len(files) * _PERCENT / 100))
    return {
        "validation": sorted(ordered[:held]),
        "test": sorted(ordered[held : 2 * held]),
        "train": sorted(ordered[2 * held :]),
    }
