"""Clips of words: recorded or spoken by espeak-ng, checked, split by speaker, augmented."""
