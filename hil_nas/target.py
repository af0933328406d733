"""Names like `nucleo-l4r5@virtual`: a board, and what its firmware runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hil_nas.errors import InputError
from hil_nas.values import suggestion

Host = Literal["serial", "virtual", "renode", "qemu", "native"]
HOSTS: tuple[Host, ...] = get_args(Host)


@dataclass(frozen=True)
class BoardTarget:
    """A board on a host; `BOARD` alone means silicon over serial."""

    board: str
    host: Host

    @classmethod
    def parse(cls, text: str) -> BoardTarget:
        """`nucleo-l4r5@virtual` as a target; dashes and underscores mean the same.

        Raises:
            InputError: for an unknown host or an empty name.
        """
        name, at, host = text.partition("@")
        name = board_name(name)
        if not name or (at and not host):
            hint = "write BOARD or BOARD@HOST, like nucleo-l4r5@virtual"
            raise InputError(f"'{text}' names no board", hint=hint)
        for known in HOSTS:
            if known == (host or "serial"):
                return cls(name, known)
        raise InputError(f"'{host}' is no host of a board", hint=suggestion(host, HOSTS, "hosts"))

    def __str__(self) -> str:
        name = self.board.replace("_", "-")
        return name if self.host == "serial" else f"{name}@{self.host}"


def board_name(text: str) -> str:
    """A board's name as its folder writes it."""
    return text.strip().lower().replace("-", "_")
