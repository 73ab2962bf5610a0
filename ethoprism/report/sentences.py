"""Plain sentences: what the figures allow one to say, and what not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from ethoprism.annotation import UNOBSERVED
from ethoprism.metrics.summary import FEWEST_RECORDINGS
from ethoprism.report.gather import Findings
from ethoprism.report.scales import clock

FEW_BOUTS = 5
_WELL = 0.75
_GOOD_SHARE_ERROR = 0.03
_POOR_CALIBRATION = 0.1
Verdict = Literal["told", "chance", "unclear", "absent"]


@dataclass(frozen=True)
class Sentences:
    """What stands at the top of the page.

    Attributes
    ----------
    lead
        What was filmed, labelled and predicted.
    may, may_not
        What may be concluded, and what not, one sentence each.
    warnings
        What a reader must know before anything else.
    """

    lead: tuple[str, ...]
    may: tuple[str, ...]
    may_not: tuple[str, ...]
    warnings: tuple[str, ...]


def sentences(findings: Findings) -> Sentences:
    """The sentences for a page; see `Sentences`."""
    may, may_not = _verdicts(findings)
    return Sentences(
        tuple(_lead(findings)),
        tuple(may),
        tuple(may_not + _limits(findings)),
        tuple(_warnings(findings)),
    )


def verdict(row: pd.Series) -> Verdict:
    """Whether a behaviour is told from chance; ``row`` is one of `Scores.table`."""
    if not row["present"]:
        return "absent"
    if not math.isfinite(row["f1_low"]) or row["bouts"] < FEW_BOUTS:
        return "unclear"
    above_calling_all = row["f1_low"] > row["chance_f1"]
    prevalence = row["present"] / row["frames"]
    ranked = row["average_precision_low"] > prevalence
    return "told" if above_calling_all and ranked else "chance"


def _lead(f: Findings) -> list[str]:
    total = sum(float(v.seconds.sum()) for v in f.views)
    labelled = sum(float(v.seconds[v.observed].sum()) for v in f.views)
    subjects = sorted({v.unit.subject for v in f.views} - {""})
    whose = f" of {_count(len(subjects), 'subject')} ({', '.join(subjects)})" if subjects else ""
    names = [name or "somebody unnamed" for name in f.annotators]
    who = ", ".join(names) or "nobody"
    share = _percent(labelled / total if total else 0)
    lines = [
        f"{_count(len(f.recordings), 'recording')}{whose}, {clock(total, 61)} (minutes and "
        f"seconds) in all{', counted for each subject' if subjects else ''}; {share} of that time "
        f"was observed by {who}, for {_count(len(f.behaviours), 'behaviour')}."
    ]
    if f.probe is not None:
        lines.append(
            f"The probe “{f.probe.name}” learnt from these labels on features of "
            f"{f.probe.key.label} and then said, for every frame, how likely each behaviour is."
        )
    if f.basis == "held out":
        lines.append(
            f"All scores below are of frames that the probe neither learnt from nor was tuned on: "
            f"{'; '.join(f.scope)}."
        )
    elif f.basis == "folds":
        lines.append(
            "No labelled frames were held out for good. The scores below are from "
            "cross-validation: each frame was predicted by a probe that saw nothing of its fold, "
            "and called with thresholds that were chosen without it."
        )
    elif f.basis == "tuned on" and _by_folds(f):
        lines.append(
            "No labelled frames were held out for good. The scores below are from "
            "cross-validation: each frame was predicted by a probe that saw nothing of its fold."
        )
    elif f.basis == "tuned on":
        lines.append(
            "No labelled frames were held out. The scores below are of frames that the probe did "
            "not learn from but that stopped its training and set its thresholds."
        )
    elif f.probe is None:
        lines.append("There is no probe yet: this page shows what people labelled.")
    return lines


def _by_folds(f: Findings) -> bool:
    return f.probe is not None and f.probe.training.get("held_out") == "folds"


def _warnings(f: Findings) -> list[str]:
    lines = []
    if f.probe is not None and not f.probe.key.trained:
        lines.append(
            f"The encoder {f.probe.key.label} has random weights. The probe can only use what "
            "shows in raw appearance and motion. These figures do not tell what a trained encoder "
            "would give, and must not be published as if they did."
        )
    if f.basis == "tuned on" and _by_folds(f):
        lines.append(
            "The scores that depend on thresholds are a little too good: the thresholds in use "
            "were chosen on some of the same frames. Scores with thresholds of each fold's own "
            "are in the probe's card, under cross-validation."
        )
    elif f.basis == "tuned on":
        lines.append(
            "The scores are too good: the thresholds were chosen on the same frames. Train again "
            "with a recording held out (ethoprism train PROJECT --test RECORDING) for figures that "
            "can be defended."
        )
    if f.probe is not None and f.basis == "nothing":
        lines.append(
            "Nothing could be scored: there are no labelled frames that the probe has not seen. "
            "Its predictions below are untested."
        )
    return lines + list(f.missing)


def _verdicts(f: Findings) -> tuple[list[str], list[str]]:
    if f.scores is None:
        return [], []
    may: list[str] = []
    may_not: list[str] = []
    for name, row in f.scores.table.iterrows():
        kind = verdict(row)
        if kind == "absent":
            may_not.append(f"{name}: it does not occur in the scored frames, so nothing is known.")
        elif kind == "unclear":
            may_not.append(
                f"{name}: {_count(int(row['bouts']), 'bout')} in the scored frames are too few to "
                f"say how well it is found (F1 {row['f1']:.2f})."
            )
        elif kind == "chance":
            may_not.append(
                f"{name} is not clearly told from chance: F1 {row['f1']:.2f} "
                f"({row['f1_low']:.2f} to {row['f1_high']:.2f}), where calling every frame would "
                f"give {row['chance_f1']:.2f}. Do not use these predictions."
            )
        else:
            may.append(_told(str(name), row))
            share = _share_caution(str(name), row)
            if share:
                may_not.append(share)
    return may, may_not


def _told(name: str, row: pd.Series) -> str:
    well = row["f1_low"] >= _WELL
    text = (
        f"{name} is {'found well' if well else 'told from chance, with many errors'}: "
        f"{_percent(row['recall'])} of its frames were called, and "
        f"{_percent(row['precision'])} of what was called is right. F1 {row['f1']:.2f} "
        f"(95 % interval {row['f1_low']:.2f} to {row['f1_high']:.2f}; calling every frame would "
        f"give {row['chance_f1']:.2f})."
    )
    error = float(row["time_share_error"])
    if abs(error) <= _GOOD_SHARE_ERROR:
        text += (
            f" Its share of the time is right to {_points(abs(error))}: "
            f"{_percent(row['called_time_share'])} called, {_percent(row['time_share'])} true."
        )
    return text


def _share_caution(name: str, row: pd.Series) -> str:
    error = float(row["time_share_error"])
    parts = []
    if abs(error) > _GOOD_SHARE_ERROR:
        parts.append(
            f"its share of the time is {'over' if error > 0 else 'under'}estimated by "
            f"{_points(abs(error))} ({_percent(row['called_time_share'])} called, "
            f"{_percent(row['time_share'])} true)"
        )
    bouts, called = int(row["bouts"]), int(row["called_bouts"])
    if abs(called - bouts) > max(2, 0.25 * bouts):
        parts.append(f"the number of its bouts is wrong ({called} called, {bouts} true)")
    if float(row["calibration_error"]) > _POOR_CALIBRATION:
        parts.append(
            f"its probabilities are off by {_points(float(row['calibration_error']))} on average, "
            "so do not read them as frequencies"
        )
    return f"{name}: " + "; ".join(parts) + "." if parts else ""


def _limits(f: Findings) -> list[str]:
    lines = []
    n = len(f.scored_recordings)
    if f.scores is not None and n < FEWEST_RECORDINGS:
        what = "one recording" if n == 1 else f"{n} recordings"
        lines.append(
            f"How the probe does on other animals, days or cameras: only {what} could be scored. "
            f"The intervals ({f.scores.drawn} drawn again) say how the figures vary within "
            f"{'it' if n == 1 else 'them'}, and are too narrow for a new recording."
        )
    segments: Any = f.probe.training.get("segments", ()) if f.probe is not None else ()
    trained = {str(s["recording"]) for s in segments if s["part"] == "train"}
    shared = trained & set(f.scored_recordings)
    if f.basis == "held out" and shared:
        lines.append(
            f"Anything on a new recording: the tested and the learnt frames of "
            f"{', '.join(sorted(shared))} are of the same recording, with a gap between them. The "
            "same animal, light and camera were there in both."
        )
    people = [a for a in f.annotators if a]
    if f.scores is not None and f.agreement.empty:
        lines.append(
            "Whether the probe is as good as a person: no two people labelled the same frames"
            + (f" (all labels are by {people[0]})." if len(people) == 1 else ".")
        )
    if any((v.states == UNOBSERVED).any() for v in f.views) and f.scores is not None:
        lines.append(
            "Anything about frames that nobody observed: they are neither present nor absent and "
            "are left out of every score. If the observed spans were chosen because something "
            "happened there, the scores are of such moments."
        )
    return lines


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _percent(share: float | int) -> str:
    if not math.isfinite(share):
        return "–"
    # A no-break space: a figure stays with its sign.
    return f"{100 * share:.{1 if 0 < share < 0.0995 else 0}f}\u00a0%"


def _points(share: float) -> str:
    return f"{100 * share:.1f} percentage points"


percent = _percent
