"""The virtual board: the real firmware in this process, with the cycles of a Cortex-M4 behind real flash caches.

`open_virtual` gives a pyserial port.
"""
