"""The state of a search between two epochs, on disk: written atomically, read without unpickling objects."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hil_nas.errors import RunError

VERSION = 1


def save(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Writes beside the target and renames, so that a kill leaves the old checkpoint or the new one."""
    content = io.BytesIO()
    torch.save({"version": VERSION, "identity": json.dumps(identity), **state}, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content.getvalue())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state that `save` wrote.

    Raises:
        RunError: where the file is damaged, or of another version, space, data or setting; both are named.
    """
    try:
        state = torch.load(path, weights_only=True)
        found = json.loads(state["identity"])
        version = state["version"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise RunError(f"{path} is no checkpoint of a search: {error}", hint="remove it and search anew") from None
    if version != VERSION:
        raise RunError(f"{path} is of version {version}, expected {VERSION}", hint="search anew")
    changed = list(_differences("", found, json.loads(json.dumps(identity))))
    if changed:
        raise RunError(
            f"{path} is of another search: " + "; ".join(changed[:4]), hint="give that search's options, or search anew"
        )
    return dict(state)


def _differences(name: str, found: Any, expected: Any) -> Iterator[str]:
    """Where two JSON values differ, in words."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*found, *(x for x in expected if x not in found)]:
            yield from _differences(f"{name}.{key}" if name else key, found.get(key), expected.get(key))
    elif found != expected:
        yield f"{name} was {_short(found)}, is {_short(expected)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
