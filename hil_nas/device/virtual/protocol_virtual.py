"""`serial.serial_for_url("virtual://nucleo_l4r5?elf=PATH")`.

pyserial finds this module by its name once `hil_nas.device.virtual` stands in
`serial.protocol_handler_packages`. Folders that the URL does not name are `boards` and `build` here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hil_nas.device.virtual.machine import Machine
from hil_nas.device.virtual.port import VirtualSerial, power_on_url


class Serial(VirtualSerial):
    """The class that pyserial makes for such a URL."""

    def __init__(self, port: str | None = None, **options: Any) -> None:
        super().__init__(port, power_on=self._power_on_port, **options)

    def _power_on_port(self) -> Machine:
        return power_on_url(str(self.port), boards_dir=Path("boards"), build_dir=Path("build"))
