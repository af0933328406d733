"""Calls piper for one utterance at a time, where it and voices of it are on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hil_nas.audio.decode import read_audio
from hil_nas.audio.espeak import trimmed
from hil_nas.audio.noise import Float
from hil_nas.errors import InputError

_FOLDERS = ("piper-voices", "piper-tts", "piper")  # of voices, below the user's and the system's data
_TIMEOUT_S = 120  # it loads its model for every utterance
_LONGEST_S = 30
_FULL_SCALE = 32768


@dataclass(frozen=True)
class PiperVoice:
    """One speaker of a model.

    Attributes:
        program: the command that says it.
        model: its .onnx.
        number: among the model's speakers.
        speaker: letters and digits, the same on every machine.
    """

    program: tuple[str, ...]
    model: Path
    number: int
    speaker: str


def piper_voices() -> tuple[PiperVoice, ...]:
    """The English voices on this machine; none where piper is not installed."""
    program = _program()
    if program is None:
        return ()
    data = os.environ.get("XDG_DATA_HOME", "")
    user = Path(data) if os.path.isabs(data) else Path.home() / ".local/share"
    models = {x.name: x for top in (Path("/usr/share"), user) for y in _FOLDERS for x in (top / y).rglob("*.onnx")}
    return tuple(voice for _, model in sorted(models.items()) for voice in _voices(program, model))


def piper_say(text: str, voice: PiperVoice, length_scale: float, sample_rate_hz: int) -> Float:
    """The utterance, (m,), full scale 1, silence trimmed off.

    Args:
        length_scale: above 1 slower, below 1 faster.

    Raises:
        InputError: where piper fails, or nothing is heard.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [*voice.program, "-m", str(voice.model), "-f", str(path), "-s", str(voice.number)]
        command += ["--length_scale", f"{length_scale:.3f}"]
        done = subprocess.run(
            command, input=f"{text}\n".encode(), capture_output=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode != 0 or not path.is_file():
            reason = done.stderr.decode(errors="replace").strip().split("\n")[-1] or "no sound"
            hint = f"move its voices out of {voice.model.parent} to do without piper"
            raise InputError(f"piper could not say '{text}' as {voice.model.name}: {reason}", hint=hint)
        audio = trimmed(read_audio(path, _LONGEST_S, sample_rate_hz).samples / _FULL_SCALE)
    if not len(audio):
        raise InputError(f"piper says nothing for '{text}'", hint="write the word as it is spoken")
    return audio


def _program() -> tuple[str, ...] | None:
    program = shutil.which("piper")
    if program is not None:
        return (program,)
    return (sys.executable, "-m", "piper") if importlib.util.find_spec("piper") is not None else None


def _voices(program: tuple[str, ...], model: Path) -> list[PiperVoice]:
    """The speakers of a model; none where its description is missing, damaged or of another language."""
    try:
        description = json.loads(model.with_name(f"{model.name}.json").read_text(encoding="utf-8"))
        language, speakers = str(description["espeak"]["voice"]), int(description.get("num_speakers", 1))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if not language.startswith("en"):
        return []
    name = "piper" + "".join(re.findall(r"[A-Za-z0-9]+", model.stem)).lower()
    return [PiperVoice(program, model, x, f"{name}s{x}") for x in range(speakers)]
