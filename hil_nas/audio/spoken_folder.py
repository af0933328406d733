"""Spoken words as a folder of recordings: the clips that a search without recordings learns from, each with a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.audio.clips import Clips
from hil_nas.audio.decode import Samples
from hil_nas.audio.layout import UNKNOWN
from hil_nas.audio.long_audio import wav_file
from hil_nas.audio.piper import PiperVoice, piper_say, piper_voices
from hil_nas.audio.speakers import TABLE
from hil_nas.audio.speech import Maker, spoken_keywords
from hil_nas.audio.splits import SPLITS, TESTING_LIST, VALIDATION_LIST, Split
from hil_nas.errors import InputError
from hil_nas.files import plain_name, require_writable, whole_folder
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from hil_nas.progress import Progress, Reporter, silent

_UNKNOWN_FOLDER, _NOISE_FILE = f"_{UNKNOWN}_", "_background_noise_/spoken.wav"
_HELD_SHARE = 0.15  # of piper's voices, for validation and for test each
_LENGTH_SCALE = (0.8, 1.3)


@dataclass(frozen=True, eq=False)
class SpokenClip:
    """A clip (samples,) of a word, its class, and the voice that says it."""

    split: Split
    class_name: str
    word: str
    speaker: str
    samples: Samples


@dataclass(frozen=True)
class SpokenFolder:
    """What was written.

    Attributes:
        clips: how many in all.
        speakers: of each split.
        voices: how many of each synthesiser.
    """

    folder: str
    clips: int
    speakers: dict[str, int]
    voices: dict[str, int]


def speak_words(
    words: Sequence[str],
    folder: Path,
    cache: Path,
    *,
    clips: int = 300,
    clip: ClipFormat = ONE_SECOND,
    progress: Reporter = silent,
) -> SpokenFolder:
    """A new folder that `datasets.load_speech_commands` takes: what `speech.spoken_keywords` says, a file a clip, with
    lists of its splits and a table of its voices.

    Where piper and voices of it are installed, they say as many clips again, in the same rooms and noises.

    Args:
        words, cache, clips, clip: as `spoken_keywords` takes them.

    Raises:
        InputError: for a folder with something in it, a word that cannot be said, or too few clips.
        MissingToolError: where espeak-ng is not installed.
        OutputError: where the system refuses.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{plain_name(folder)} holds something already", hint="name a new folder")
    require_writable(folder)
    maker, voices = Maker(words, clips, 0, clip), piper_voices()
    data = spoken_keywords(words, cache, clips=clips, clip=clip, progress=progress)

    def said() -> Iterator[SpokenClip]:
        for split in SPLITS:
            yield from _of_espeak(maker, split, data.split(split))
        for split, own in _divided(voices).items():
            if own:
                yield from _of_piper(maker, split, own, progress)

    with whole_folder(folder) as whole:
        whole.mkdir()
        written = _write(whole, said(), clip.sample_rate_hz)
        _write_file(whole, _NOISE_FILE, wav_file(data.background, clip.sample_rate_hz))
    speakers: dict[str, int] = {x: len({speaker for split, speaker in written.values() if split == x}) for x in SPLITS}
    counts = {"espeak-ng": len(maker.timbres), "piper": len(voices)}
    return SpokenFolder(str(folder), len(written), speakers, {x: y for x, y in counts.items() if y})


def _of_espeak(maker: Maker, split: Split, clips: Clips) -> Iterator[SpokenClip]:
    """The clips of a split with their words and voices; silence, which stands behind them, is cut from noise anew."""
    for (label, number), samples in zip(maker.jobs(split), clips.samples, strict=False):
        said = maker.utterance(split, label, number)
        yield SpokenClip(split, maker.classes[label], said.word, said.voice.timbre, samples)


def _of_piper(maker: Maker, split: Split, voices: Sequence[PiperVoice], progress: Reporter) -> Iterator[SpokenClip]:
    studio, jobs = maker.studio(split), maker.jobs(split)
    for done, (label, number) in enumerate(jobs, start=1):
        rng = np.random.default_rng([maker.seed, 5, label, number])
        word, voice = maker.word(label, rng), voices[int(rng.integers(len(voices)))]
        speech = piper_say(word, voice, rng.uniform(*_LENGTH_SCALE), maker.clip.sample_rate_hz)
        yield SpokenClip(split, maker.classes[label], word, voice.speaker, studio.record(speech, rng))
        progress(Progress(f"speaking with piper ({split})", done, len(jobs)))


def _divided(voices: Sequence[PiperVoice]) -> dict[Split, list[PiperVoice]]:
    """Every voice in one split; all in training where they are too few to divide."""
    order = [voices[int(x)] for x in np.random.default_rng([0, 4]).permutation(len(voices))]
    held = max(1, round(len(order) * _HELD_SHARE)) if len(order) >= len(SPLITS) else 0
    return {"train": order[2 * held :], "validation": order[:held], "test": order[held : 2 * held]}


def _write(whole: Path, clips: Iterable[SpokenClip], sample_rate_hz: int) -> dict[str, tuple[Split, str]]:
    """The clips, their lists and their table; split and speaker by name."""
    written: dict[str, tuple[Split, str]] = {}
    for number, clip in enumerate(clips):
        place = _UNKNOWN_FOLDER if clip.class_name == UNKNOWN else clip.word
        name = f"{place}/{clip.speaker}_{clip.word}_{number:05d}.wav"
        _write_file(whole, name, wav_file(clip.samples, sample_rate_hz))
        written[name] = clip.split, clip.speaker
    for split, file in (("validation", VALIDATION_LIST), ("test", TESTING_LIST)):
        names = "".join(f"{name}\n" for name, (own, _) in written.items() if own == split)
        _write_file(whole, file, names.encode())
    rows = "".join(f"{name},{speaker}\n" for name, (_, speaker) in written.items())
    _write_file(whole, TABLE, f"file,speaker\n{rows}".encode())
    return written


def _write_file(whole: Path, name: str, data: bytes) -> None:
    path = whole / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
