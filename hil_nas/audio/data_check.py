"""What a folder of recordings is worth: who says what in which split, how it sounds, and what becomes of each file.

All of it is found by what a training reads its clips with; nothing is looked at in another way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from hil_nas.audio.checks import ClipFacts, Findings
from hil_nas.audio.datasets import Loader
from hil_nas.audio.layout import BACKGROUND, SILENCE, TEST_FOLDER, Recording
from hil_nas.audio.selection import Selection, Survey, select, survey
from hil_nas.audio.splits import SPLITS
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from hil_nas.notebook import html_table
from hil_nas.progress import Reporter, silent

NOTHING = "nothing, until the folder can be used"
LEFT_OUT = "left out: enough clips of other words were drawn"
NOISE = "cut for silence, and mixed into training clips"
TESTED_ELSEWHERE = f"left out: {TEST_FOLDER}/ is the test"
NO_TEST = f"left out: {TEST_FOLDER}/ lacks a class, and is not used"
NO_CLASS = "left out: there is no class for it"

_FAULTS: dict[str, Callable[[ClipFacts], bool]] = {
    "clipped": lambda x: x.clipped, "offset": lambda x: x.has_offset, "silent": lambda x: x.silent,
}  # fmt: skip
_CHANGES = ("padded", "cut", "resampled")


@dataclass(frozen=True)
class FileReport:
    """One file and what becomes of it.

    Attributes:
        name: its path within the data set.
        word: what it says by its place; `silence`, `unknown` and `background_noise` are no words.
        speaker: None where nothing says who speaks.
        split: by lists or by its speaker; empty in a test set.
        use: what a training does with it, as a phrase.
        refused: why it cannot be used; empty where it can.
        facts: what was seen of the samples; None of a file that is not read or cannot be.
    """

    name: str
    word: str
    speaker: str | None
    split: str
    use: str
    refused: str
    facts: ClipFacts | None

    def to_json(self) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        if self.facts is not None:
            x = self.facts
            seen = {
                "seconds": x.seconds, "rate_hz": x.rate_hz, "level_db": x.level_db, "offset": x.offset,
                "silent": x.silent, "clipped": x.clipped, "has_offset": x.has_offset,
            }  # fmt: skip
        own = {x: y for x, y in vars(self).items() if x != "facts"}
        return {**own, **seen}


@dataclass(frozen=True)
class ClassReport:
    """The files of one word, or of the class unknown.

    Attributes:
        clips: files that are used, in each split.
        speakers: how many are known among them.
        seconds: shortest, median and longest; None where nothing was read.
        level_db: of the used part, RMS without the mean against full scale: least, median, most.
        faults: how many files are clipped, silent, with a DC offset.
        changes: how many are padded to a clip's length, cut to it, brought to its rate.
    """

    name: str
    clips: dict[str, int]
    speakers: int
    seconds: tuple[float, float, float] | None
    level_db: tuple[float, float, float] | None
    faults: dict[str, int]
    changes: dict[str, int]


@dataclass(frozen=True)
class Problem:
    """Why a training would refuse the folder, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True)
class DataCheck:
    """What was found in a folder.

    Attributes:
        clip: what every recording is brought to.
        files: all there are, in the order of their names.
        classes: those of the task, silence excepted, which is cut from noise.
        same: names of files with equal samples, a tuple for each of the clips.
        findings: what a search says of it too.
        problems: why a training would refuse it.
    """

    folder: str
    clip: ClipFormat
    files: tuple[FileReport, ...]
    classes: tuple[ClassReport, ...]
    same: tuple[tuple[str, ...], ...]
    findings: Findings
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether a training takes the folder."""
        return not self.problems

    @cached_property
    def uses(self) -> dict[str, int]:
        """How many files each use has."""
        return dict(Counter(x.use for x in self.files))

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "ok": self.ok,
            "problems": [asdict(x) for x in self.problems],
            "sample_rate_hz": self.clip.sample_rate_hz,
            "clip_s": self.clip.samples / self.clip.sample_rate_hz,
            "classes": [asdict(x) for x in self.classes],
            "same": self.same,
            **self.findings.to_json(),
            "uses": self.uses,
            "files": [x.to_json() for x in self.files],
        }

    def _repr_html_(self) -> str:
        heads = ("", *SPLITS, "speakers", *_FAULTS, *_CHANGES)
        rows = [
            (x.name, *x.clips.values(), x.speakers, *(x.faults[y] for y in _FAULTS), *(x.changes[y] for y in _CHANGES))
            for x in self.classes
        ]
        told = [("problem", x.message) for x in self.problems] + [("warning", x) for x in self.findings.warnings]
        title = f"{self.folder}: {len(self.files):,} recordings"
        return html_table(title, rows, heads) + (html_table("", told) if told else "")


def check_data(
    folder: Path, words: Sequence[str] | None = None, *, clip: ClipFormat = ONE_SECOND, progress: Reporter = silent
) -> DataCheck:
    """Everything that a search would find in a folder of recordings, without its training.

    Args:
        words: the keywords, as for `datasets.load_speech_commands`.

    Raises:
        InputError: for a missing folder, one without recordings, or a list or table that is not what it must be; all
            else that a training would refuse is a problem of the result.
    """
    surveyed = survey(folder, words)
    try:
        selection = select(surveyed, words, silence=True)
    except InputError as error:
        return _of_names(surveyed, error, clip)
    loader = Loader(selection, 0, clip, progress)
    for split in SPLITS:
        loader.clips(split)
    facts = {x.name: x for read in loader.facts.values() for _, x in read}
    uses, refused = _uses(loader), loader.refused()
    files = tuple(
        _file(
            surveyed, x, uses.get(x.name) or _unused(selection, x, surveyed.split_of.get(x.name, "")),
            refused.get(x.name), facts.get(x.name),
        )
        for x in (*surveyed.data.recordings, *surveyed.tested)
    )  # fmt: skip
    problems = [Problem(f"{name}: {error.message}", error.hint or "") for name, error in sorted(refused.items())]
    return DataCheck(
        plain_name(folder), clip, files, tuple(_classes(loader, files)), _same(facts.values()), loader.findings(),
        tuple(problems),
    )  # fmt: skip


def _of_names(surveyed: Survey, error: InputError, clip: ClipFormat) -> DataCheck:
    """What names alone say of a folder that no task can be made of."""
    files = tuple(_file(surveyed, x, NOTHING, None, None) for x in (*surveyed.data.recordings, *surveyed.tested))
    by_word: dict[str, list[FileReport]] = {x: [] for x in sorted(surveyed.data.words)}
    for file in files:
        if file.word in by_word and file.split:
            by_word[file.word].append(file)
    classes = (_class(word, [(x.split, x) for x in own], clip) for word, own in by_word.items())
    problem = Problem(error.message, error.hint or "")
    return DataCheck(plain_name(surveyed.data.folder), clip, files, tuple(classes), (), Findings(), (problem,))


def _file(surveyed: Survey, x: Recording, use: str, refused: InputError | None, facts: ClipFacts | None) -> FileReport:
    return FileReport(
        x.name, x.word, surveyed.speaker_of.get(x.name), surveyed.split_of.get(x.name, ""),
        "refused" if refused else use, refused.message if refused else "", facts,
    )  # fmt: skip


def _uses(loader: Loader) -> dict[str, str]:
    """What becomes of each recording that was drawn, by its name."""
    times: dict[str, Counter[str]] = defaultdict(Counter)
    for split, drawn in loader.drawn.items():
        for recording, name in drawn:
            times[recording.name][f"{split}, as {name}"] += 1
    return {
        name: "; ".join(use if count == 1 else f"{use}, {count} times" for use, count in own.items())
        for name, own in times.items()
    }


def _unused(selection: Selection, recording: Recording, split: str) -> str:
    """What becomes of a recording that was not drawn."""
    if not split:
        return NO_TEST if selection.test_set is None else NO_CLASS
    if recording.word in (BACKGROUND, SILENCE):
        return NOISE
    return TESTED_ELSEWHERE if split == "test" and selection.test_set is not None else LEFT_OUT


def _classes(loader: Loader, files: Sequence[FileReport]) -> Iterator[ClassReport]:
    by_name = {x.name: x for x in files}
    own: dict[str, list[tuple[str, FileReport]]] = {x: [] for x in loader.classes if x != SILENCE}
    for split, drawn in loader.drawn.items():
        for name, word in dict.fromkeys((x.name, y) for x, y in drawn):
            if word in own and not by_name[name].refused:
                own[word].append((split, by_name[name]))
    return (_class(word, members, loader.clip) for word, members in own.items())


def _class(name: str, members: Sequence[tuple[str, FileReport]], clip: ClipFormat) -> ClassReport:
    facts = [x.facts for _, x in members if x.facts]
    clip_s = clip.samples / clip.sample_rate_hz
    counts = Counter(split for split, _ in members)
    return ClassReport(
        name,
        {x: counts[x] for x in SPLITS},
        len({x.speaker for _, x in members if x.speaker}),
        _spread([x.seconds for x in facts]),
        _spread([x.level_db for x in facts]),
        {name: sum(fault(x) for x in facts) for name, fault in _FAULTS.items()},
        {
            "padded": sum(x.seconds < clip_s for x in facts),
            "cut": sum(x.seconds > clip_s for x in facts),
            "resampled": sum(x.rate_hz != clip.sample_rate_hz for x in facts),
        },
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return (min(values), median(values), max(values)) if values else None


def _same(facts: Iterable[ClipFacts]) -> tuple[tuple[str, ...], ...]:
    """Files of equal samples; silent ones are told of by themselves."""
    by_content: dict[bytes, list[str]] = defaultdict(list)
    for x in facts:
        if not x.silent:
            by_content[x.content].append(x.name)
    return tuple(tuple(sorted(x)) for x in by_content.values() if len(x) > 1)
