"""Entries of a .tflite's metadata: a name and some bytes.

To add one, a new root table with new vectors of buffers and metadata is put in front of the file; everything that was
there stays as it was, byte for byte, and every interpreter reads on.
"""

from __future__ import annotations

from hil_nas.errors import InputError
from hil_nas.tflite import schema
from hil_nas.tflite.flatbuffer import Table, read
from hil_nas.tflite.model_file import model_root
from hil_nas.tflite.writing import Field, TableWriter

_ROOT_FIELDS = 10  # of the schema's Model; all but the version are references
_ALIGNMENT = 64  # at least what any table of the old file needs


def read_metadata(model: bytes, name: str) -> bytes | None:
    """The entry of this name, None where there is none.

    Raises:
        InputError: for bytes that are no .tflite.
    """
    root = model_root(model)
    entries = [x for x in root.tables(schema.MODEL_METADATA) if x.text(schema.METADATA_NAME) == name]
    if not entries:
        return None
    number, buffers = entries[0].number(schema.METADATA_BUFFER, "I"), root.tables(schema.MODEL_BUFFERS)
    if number >= len(buffers):
        raise InputError(f"the file is damaged: buffer {number} of {len(buffers)}")
    return bytes(buffers[number].numbers(schema.BUFFER_DATA, "<u1"))


def with_metadata(model: bytes, name: str, data: bytes) -> bytes:
    """The model with this entry, in place of one of the same name.

    Raises:
        InputError: for bytes that are no .tflite.
    """
    root, front = model_root(model), TableWriter(_ALIGNMENT)
    buffers = root.tables(schema.MODEL_BUFFERS)
    others = [x for x in root.tables(schema.MODEL_METADATA) if x.text(schema.METADATA_NAME) != name]
    content = front.data(data, 16)
    buffer = front.table([(schema.BUFFER_DATA, "UOffsetTRelative", content)])
    called = front.text(name)
    entry = front.table([
        (schema.METADATA_NAME, "UOffsetTRelative", called),
        (schema.METADATA_BUFFER, "Uint32", len(buffers)),
    ])  # fmt: skip
    # a reference counts from the end of the front, where the old file begins: what lies in that is behind it
    buffer_list = front.references([*(-x.position for x in buffers), buffer])
    entry_list = front.references([*(-x.position for x in others), entry])
    given: dict[int, Field] = {
        schema.MODEL_VERSION: (schema.MODEL_VERSION, "Uint32", schema.VERSION),
        schema.MODEL_BUFFERS: (schema.MODEL_BUFFERS, "UOffsetTRelative", buffer_list),
        schema.MODEL_METADATA: (schema.MODEL_METADATA, "UOffsetTRelative", entry_list),
    }
    kept: list[Field] = [
        (i, "UOffsetTRelative", -_target(root, i))
        for i in range(_ROOT_FIELDS)
        if i not in given and root.field(i) is not None
    ]
    return front.finish(front.table([*given.values(), *kept]), schema.IDENTIFIER) + model


def _target(root: Table, number: int) -> int:
    """What a reference field of the old root points at."""
    offset = root.field(number)
    assert offset is not None
    target = offset + int(read(root.data, offset, "I"))
    read(root.data, target, "I")  # raises where it lies outside
    return target
