"""The card of a probe as a page that a person reads: ``card.md``, beside ``card.json``.

What it is for, what it was taught, how well it does on what it had not seen, and what that does not
say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ethoprism.probe.checkpoint import Probe

_COLUMNS = ("behaviour", "F1", "chance F1", "precision", "recall", "average precision", "frames")
_HEADS = {
    "linear": "a linear layer on descriptors of the frames around",
    "attentive": "attentive pooling over the tokens around a frame",
    "temporal": "dilated convolutions over the frames around",
}
_KEPT = {"recordings": "whole recordings", "blocks": "contiguous blocks with a gap between parts"}


def card_text(probe: Probe) -> str:
    """The card as Markdown; it ends with a line break."""
    training = probe.training
    parts = [
        f"# Probe {_plain(probe.name)}",
        _backbone(probe),
        _what(probe),
        "## What it was taught",
        *_taught(training),
        "## How well it does",
        *_worth(probe),
        "## How probabilities become bouts",
        _decision(probe),
        "## What this does not say",
        *_limits(probe),
        "## How it was made",
        _made(probe),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _backbone(probe: Probe) -> str:
    if probe.key.trained:
        return f"Backbone: {_plain(probe.key.label)}."
    return (
        f"Backbone: {_plain(probe.key.label)}. **The backbone's weights are random.** What this "
        "probe says must not be reported as what VideoPrism can do."
    )


def _what(probe: Probe) -> str:
    whose = f" of {_plain(probe.subject)}" if probe.subject else ""
    names = ", ".join(_plain(name) for name in probe.behaviours)
    head = _HEADS.get(probe.shape.head, probe.shape.head)
    several = f", {probe.shape.members} networks averaged" if probe.shape.members > 1 else ""
    return f"It predicts{whose}, for every frame: {names}. Head: {head}{several}."


def _taught(training: Mapping[str, Any]) -> list[str]:
    labels = training.get("labels") or {}
    totals: dict[str, list[int]] = {}
    for table in labels.values():
        for name, counts in table.items():
            total = totals.setdefault(name, [0, 0])
            total[0] += counts.get("present", 0)
            total[1] += counts.get("absent", 0)
    rows = [(_plain(n), f"{a:,}", f"{b:,}") for n, (a, b) in totals.items()]
    parts: dict[str, list[str]] = {}
    for segment in training.get("segments", ()):
        names = parts.setdefault(str(segment["part"]), [])
        if segment["recording"] not in names:
            names.append(segment["recording"])
    split = str(training.get("split", "recordings"))
    lines = [f"- {part}: {', '.join(map(_plain, names))}" for part, names in sorted(parts.items())]
    share = training.get("share_of_rows_in_memory") or {}
    left_out = [f"{part} {value:.0%}" for part, value in share.items() if value < 1]
    return [
        f"Labels of {len(labels)} recordings or subjects, in frames:",
        _table(("behaviour", "present", "absent"), rows),
        f"Split by {_KEPT.get(split, split)}:",
        "\n".join(lines),
        f"Not all rows fitted into memory; used: {', '.join(left_out)}." if left_out else "",
    ]


def _worth(probe: Probe) -> list[str]:
    training = probe.training
    found = training.get("cross_validation")
    if found:
        drawn = found.get("intervals_from", "")
        return [
            f"Cross-validation in {found['folds']} folds: each labelled frame was predicted by a "
            "probe that had seen nothing of its fold. In brackets: 95 % intervals, from "
            f"{drawn}.",
            _scores(found["metrics"]),
            _mean_precision(found.get("overall", {})),
        ]
    for part, words in (
        ("test", "On the test part, which was looked at once."),
        (
            "validation",
            "On the validation part, **which also stopped the training and set the thresholds, so "
            "these figures are too good.** Hold recordings out with --test, or use --folds.",
        ),
    ):
        if probe.metrics.get(part):
            overall = (training.get("overall") or {}).get(part) or {}
            drawn = overall.get("intervals_from", "")
            note = f" In brackets: 95 % intervals, from {drawn}." if drawn else ""
            return [words + note, _scores(probe.metrics[part]), _mean_precision(overall)]
    return ["It was not scored on anything."]


def _scores(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            _plain(name),
            _with_interval(row, "f1"),
            _number(row.get("chance_f1")),
            _number(row.get("precision")),
            _number(row.get("recall")),
            _with_interval(row, "average_precision"),
            f"{row.get('present', 0):,} of {row.get('frames', 0):,}",
        )
        for name, row in metrics.items()
    ]
    return _table(_COLUMNS, rows)


def _mean_precision(overall: Mapping[str, Any]) -> str:
    if not _is_number(overall.get("mean_average_precision")):
        return ""
    return (
        f"Mean average precision {_with_interval(overall, 'mean_average_precision')}. Chance F1 is "
        "that of calling every frame present; the chance level of average precision is the share "
        "of frames in which the behaviour is present."
    )


def _decision(probe: Probe) -> str:
    decision = probe.learnt or probe.decision
    rows = [
        (
            _plain(name),
            _number(decision.thresholds[name]),
            _number(decision.low.get(name, decision.thresholds[name])),
            f"{decision.min_bout[name]}",
            f"{decision.min_gap.get(name, decision.min_bout[name])}",
        )
        for name in probe.behaviours
    ]
    table = _table(("behaviour", "starts at", "goes on at", "shortest bout", "shortest gap"), rows)
    chains = "".join(
        f"\n\n{', '.join(map(_plain, c.behaviours))}: the likeliest sequence of these and none. "
        "So a frame may be called below its threshold, or not be called above it."
        for c in decision.chains
    )
    return (
        "Learnt on validation data; lengths in frames. A decision of the user's own is in "
        f"`decision.json`.\n\n{table}{chains}"
    )


def _limits(probe: Probe) -> list[str]:
    stated = probe.training.get("familiarity") or {}
    few = [
        _plain(name)
        for name, row in (
            probe.metrics.get("test") or probe.metrics.get("validation") or {}
        ).items()
        if row.get("bouts", 0) < 10
    ]
    recordings = probe.training.get("recordings", ())
    lines = [
        "- The scores hold for recordings like those above: the same set-up, animals and people "
        "who labelled. They say nothing of others.",
        "- Predictions are not observations. Look at some before you report them.",
    ]
    if len(recordings) < 5:
        lines.append(
            f"- There are {len(recordings)} labelled recordings. That is too few to say how much "
            "recordings differ; intervals from blocks are too narrow for new recordings."
        )
    if few:
        lines.append(f"- Fewer than ten bouts were scored of: {', '.join(few)}.")
    if stated.get("limit") is not None:
        between = max((stated.get("distances") or {}).values(), default=0.0)
        lines.append(
            "- At prediction there is a warning where a recording's tokens lie more than "
            f"{stated['limit']:.2f} deviations from the training ones, which lie up to "
            f"{between:.2f} from each other. A behaviour that looks new in a familiar picture is "
            "not noticed."
        )
    return ["\n".join(lines)]


def _made(probe: Probe) -> str:
    training = probe.training
    schedule = training.get("schedule") or {}
    made = ", ".join(f"{name} {value}" for name, value in (training.get("versions") or {}).items())
    return (
        f"Seed {training.get('seed')}; loss {schedule.get('loss', 'cross-entropy')}; "
        f"{training.get('parameters', 0):,} parameters; tokens `{probe.key.digest}`; probe "
        f"`{probe.digest[:16]}`; {made}."
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing but text."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in str(text))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))


def _number(value: Any) -> str:
    return f"{float(value):.2f}" if _is_number(value) else "–"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    interval = f" ({_number(low)}–{_number(high)})" if _is_number(low) and _is_number(high) else ""
    return _number(row.get(name)) + interval
