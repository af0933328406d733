"""Two examples for each command, with which its --help ends."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, str]] = {
    "search": (
        'hil_nas search --words "lamp,music,quiet" --max-ram 128k',
        "hil_nas search --data recordings --max-latency 100ms --board nucleo-l4r5@virtual",
    ),
    "baseline": (
        "hil_nas baseline ds-cnn --data speech_commands",
        "hil_nas baseline micronet-kws-s --data recordings --max-ram 128k",
    ),
    "sweep": (
        "hil_nas sweep --max-latency 40ms,60ms,100ms --seeds 3 --baselines ds-cnn",
        'hil_nas sweep --data recordings --max-ram 64k,128k --also "--max-latency 50ms"',
    ),
    "profile": (
        "hil_nas profile --board nucleo-l4r5 --flash",
        "hil_nas profile --compare nucleo-l4r5@virtual nucleo-l4r5",
    ),
    "verify": (
        "hil_nas verify model.tflite --board nucleo-l4r5@virtual",
        "hil_nas verify model.tflite --data recordings --max-ram 128k --max-latency 50ms",
    ),
    "compare": (
        "hil_nas compare ours.tflite theirs.tflite",
        "hil_nas compare model.tflite --board nucleo-l4r5@virtual --board native@native",
    ),
    "report": (
        "hil_nas report runs/<run>",
        "hil_nas report <run> --runs runs --json",
    ),
    "runs": (
        "hil_nas runs",
        "hil_nas runs compare <run> <other>",
    ),
    "zoo": (
        "hil_nas zoo",
        "hil_nas zoo <name> runs/<name>",
    ),
    "listen": (
        "hil_nas listen runs/<run> evening.wav",
        "hil_nas listen runs/<run> --keep heard",
    ),
    "tune": (
        "hil_nas tune runs/<run> --negatives talk --false-accepts 0.5/h",
        "hil_nas tune runs/<run> --negatives talk --negatives radio --listen 60ms --snr 5,10",
    ),
    "serve": (
        "hil_nas serve model.tflite --board nucleo-l4r5@virtual",
        "hil_nas serve model.tflite --board nucleo-l4r5@virtual --tcp 0",
    ),
    "data": (
        "hil_nas data fetch",
        "hil_nas data check recordings",
    ),
    "data fetch": (
        "hil_nas data fetch",
        "hil_nas data fetch sets/speech_commands",
    ),
    "data check": (
        "hil_nas data check recordings",
        "hil_nas data check speech_commands --words marvin,sheila --json",
    ),
    "data record": (
        "hil_nas data record lamp --folder recordings --speaker anna",
        'hil_nas data record "turn on" --folder recordings --speaker ben --count 20',
    ),
    "data speak": (
        "hil_nas data speak lamp,music --folder spoken",
        "hil_nas data speak lamp,music --folder spoken --clips 1000",
    ),
    "doctor": (
        "hil_nas doctor",
        "hil_nas doctor --timing",
    ),
    "completion": (
        'eval "$(hil_nas completion bash)"',
        "hil_nas completion fish > ~/.config/fish/completions/hil_nas.fish",
    ),
}
