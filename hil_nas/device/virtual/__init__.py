"""The virtual board: the real firmware in this process, with the cycles of a Cortex-M4 behind real flash caches.

`open_virtual` gives a pyserial port; `serial_for_url("virtual://nucleo_l4r5?elf=...")` the same by a URL once
`hil_nas.device.virtual` stands in `serial.protocol_handler_packages`.
"""
