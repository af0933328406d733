"""What a product's RAM and flash go to, line by line, from a board's own account."""

from __future__ import annotations

from hil_nas.device.replies import MemoryUse

_NOT_A_PRODUCTS = ("audio", "input and output of the wire")  # a product that listens has neither


def ram_lines(memory: MemoryUse) -> dict[str, int]:
    """What the RAM of the product is used for; the sum is `memory.ram_bytes`."""
    lines = {
        "network arena": memory.arena_bytes,
        "front-end scratch": memory.front_end_scratch_bytes,
        "audio": memory.audio_bytes,
        "input and output of the wire": memory.io_bytes,
        "firmware data and bss": memory.static_bytes,
        "stack, deepest": memory.stack_bytes,
    }
    return {name: size for name, size in (lines | _uploaded(memory, "ram")).items() if size}


def flash_lines(memory: MemoryUse) -> dict[str, int]:
    """What the flash of the product is used for; the sum is `memory.flash_bytes`."""
    return {"firmware image": memory.image_bytes} | _uploaded(memory, "flash")


def listening_ram_lines(memory: MemoryUse) -> dict[str, int]:
    """What a product that listens needs RAM for; the audio that it pushes is its own."""
    lines = {name: size for name, size in ram_lines(memory).items() if name not in _NOT_A_PRODUCTS}
    return {"listening: samples, features, decisions": memory.listen_bytes, **lines}


def _uploaded(memory: MemoryUse, where: str) -> dict[str, int]:
    lines = {}
    if memory.plan_where == where:
        lines["network plan and weights"] = memory.plan_bytes
    if memory.front_end_tables_where == where:
        lines["front-end tables"] = memory.front_end_tables_bytes
    return lines
