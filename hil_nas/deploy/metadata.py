"""The front end inside a .tflite, by its name, so that a model never travels without it.

It is an ordinary entry of the model's metadata (name `hil_nas.front_end`, a buffer of JSON). To add it, a new root
table with new vectors of buffers and metadata is put in front of the file; everything that was there stays
as it was, byte for byte, and every interpreter reads on.
"""

from __future__ import annotations

import json
import struct

from hil_nas.deploy import schema
from hil_nas.deploy.flatbuffer import Table, read
from hil_nas.deploy.model_file import model_root
from hil_nas.errors import HilNasError, InputError
from hil_nas.front_ends import FrontEnd, parse_front_end

NAME = "hil_nas.front_end"
_VERSION = 2
_NAMES = (NAME, "hil_nas.mfcc")  # the second is version 1's, which is refused
_ROOT_FIELDS = 10  # of the schema's Model; all but the version are references
_ALIGNMENT = 64  # at least what any table of the old file needs


def attach_front_end(model: bytes, config: FrontEnd) -> bytes:
    """The model with its front end in its metadata, in place of one that it had.

    Raises:
        InputError: for bytes that are no .tflite.
    """
    if read_front_end(model) == config:
        return model
    text = json.dumps({"version": _VERSION, "front_end": str(config)}).encode()
    size = len(_front(model, text, len(model) + (1 << 20)))  # the same for every shift
    front_bytes = -(-size // _ALIGNMENT) * _ALIGNMENT
    front = _front(model, text, front_bytes)
    return front + bytes(front_bytes - len(front)) + model


def read_front_end(model: bytes) -> FrontEnd | None:
    """The front end in the model's metadata, None where there is none.

    Raises:
        InputError: for bytes that are no .tflite and for an entry that is no front end, or of another version.
    """
    root = model_root(model)
    entries = [x for x in root.tables(schema.MODEL_METADATA) if x.text(schema.METADATA_NAME) in _NAMES]
    if not entries:
        return None
    number, buffers = entries[0].number(schema.METADATA_BUFFER, "I"), root.tables(schema.MODEL_BUFFERS)
    if number >= len(buffers):
        raise InputError(f"the file is damaged: buffer {number} of {len(buffers)}")
    return _parse(buffers[number].numbers(schema.BUFFER_DATA, "<u1").tobytes())


def _parse(text: bytes) -> FrontEnd:
    try:
        data = json.loads(text)
        version = data["version"]
        if version != _VERSION:
            raise InputError(f"the model's front end is of version {version!r}, expected {_VERSION}")
        return parse_front_end(data["front_end"])
    except HilNasError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise InputError(f"the model's metadata {NAME} is no front end: {text[:80]!r}") from None


def _front(model: bytes, text: bytes, shift: int) -> bytes:
    """A new beginning for a file whose old content starts at `shift`."""
    root = model_root(model)
    buffers = [x.position + shift for x in root.tables(schema.MODEL_BUFFERS)]
    entries = root.tables(schema.MODEL_METADATA)
    others = [x.position + shift for x in entries if x.text(schema.METADATA_NAME) not in _NAMES]
    data = bytearray(struct.pack("<I4s", 0, schema.IDENTIFIER))
    table = _append_table(data, 4 * _ROOT_FIELDS, [4 + 4 * i for i in range(_ROOT_FIELDS)], _absent(root))
    struct.pack_into("<I", data, 0, table)
    struct.pack_into("<I", data, table + 4, schema.VERSION)
    for number in range(1, _ROOT_FIELDS):
        if number not in (schema.MODEL_BUFFERS, schema.MODEL_METADATA) and root.field(number) is not None:
            _point(data, table + 4 + 4 * number, _target(root, number) + shift)
    # a reference only leads forward, so what is pointed at comes last
    buffer_list = _append_vector(data, len(buffers) + 1)
    entry_list = _append_vector(data, len(others) + 1)
    _point(data, table + 4 + 4 * schema.MODEL_BUFFERS, buffer_list)
    _point(data, table + 4 + 4 * schema.MODEL_METADATA, entry_list)
    buffer = _append_table(data, 4, [4])
    entry = _append_table(data, 8, [4, 8])
    struct.pack_into("<I", data, entry + 8, len(buffers))
    _point(data, buffer + 4, _append_bytes(data, text, 16))
    _point(data, entry + 4, _append_bytes(data, NAME.encode(), 4))
    for index, target in enumerate([*buffers, buffer]):
        _point(data, buffer_list + 4 + 4 * index, target)
    for index, target in enumerate([*others, entry]):
        _point(data, entry_list + 4 + 4 * index, target)
    return bytes(data)


def _absent(root: Table) -> frozenset[int]:
    """Fields that the old root lacks and the new one does not get."""
    given = {schema.MODEL_VERSION, schema.MODEL_BUFFERS, schema.MODEL_METADATA}
    return frozenset(i for i in range(_ROOT_FIELDS) if i not in given and root.field(i) is None)


def _target(root: Table, number: int) -> int:
    """What a reference field of the old root points at."""
    place = root.field(number)
    assert place is not None
    target = place + int(read(root.data, place, "I"))
    read(root.data, target, "I")  # raises where it lies outside
    return target


def _point(data: bytearray, place: int, target: int) -> None:
    """A reference: the distance from itself to its target, which lies behind it."""
    struct.pack_into("<I", data, place, target - place)


def _append_table(data: bytearray, payload_bytes: int, places: list[int], absent: frozenset[int] = frozenset()) -> int:
    """A vtable and an empty table behind it, whose field `i` lies at `places[i]`; where the table begins."""
    data += bytes(-len(data) % 4)
    vtable = len(data)
    entries = [0 if i in absent else place for i, place in enumerate(places)]
    data += struct.pack(f"<{2 + len(entries)}H", 4 + 2 * len(entries), 4 + payload_bytes, *entries)
    data += bytes(-len(data) % 4)
    table = len(data)
    data += struct.pack("<i", table - vtable) + bytes(payload_bytes)
    return table


def _append_bytes(data: bytearray, content: bytes, alignment: int) -> int:
    """A vector of bytes or a string, its content at a multiple of `alignment`; where its length stands."""
    data += bytes(-(len(data) + 4) % alignment)
    place = len(data)
    data += struct.pack("<I", len(content)) + content + b"\0"
    data += bytes(-len(data) % 4)
    return place


def _append_vector(data: bytearray, length: int) -> int:
    """A vector of references that are not set yet; where it begins."""
    place = len(data)
    data += struct.pack("<I", length) + bytes(4 * length)
    return place
