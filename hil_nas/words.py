"""The words of Speech Commands, version 2."""

from __future__ import annotations

TEN_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")  # those of its usual task
ALL_WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
