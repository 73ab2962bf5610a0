"""The sections that say how far predictions can be trusted, and where they fail."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ethoprism.annotation import PRESENT
from ethoprism.metrics import calibration, frames
from ethoprism.metrics.agreement import PROBE
from ethoprism.metrics.summary import Scores
from ethoprism.report import charts, matrices, numbers
from ethoprism.report.charts import Measured
from ethoprism.report.gather import Findings
from ethoprism.report.markup import Html, h, table
from ethoprism.report.order import sum_of
from ethoprism.report.sections import section, swatch
from ethoprism.report.sentences import percent


def scores(f: Findings) -> Html:
    """Scores of frames and bouts, with intervals and support."""
    if f.scores is None:
        why = "There is no probe." if f.probe is None else "No labelled frame was held out."
        return section("scores", "How well behaviours are found", h("p", why))
    t = f.scores.table
    rows = [
        Measured(
            str(name),
            float(r["f1"]),
            float(r["f1_low"]),
            float(r["f1_high"]),
            float(r["chance_f1"]),
            f.colour(str(name)),
            _f1_note(r),
        )
        for name, r in t.iterrows()
    ]
    tuned = "TOO GOOD, thresholds were chosen on these frames. " if f.basis == "tuned on" else ""
    return section(
        "scores",
        "How well behaviours are found",
        h(
            "figure",
            charts.dots(rows, "F1 of each behaviour with its interval", "F1 by frames"),
            h(
                "figcaption",
                f"{tuned}F1: how many frames are right, of those called or present; 1 is "
                "best. Line: 95 % interval, "
                f"{f.scores.drawn} drawn again. Upright stroke: the F1 of calling every frame "
                "present, the best that is possible without looking.",
            ),
        ),
        _frame_table(f, f.scores),
        _bout_table(f, f.scores),
        _subject_table(f),
    )


def _f1_note(r: pd.Series) -> str:
    if not r["present"]:
        return "does not occur"
    return f"{r['f1']:.2f}" if math.isfinite(r["f1"]) else "–"


def _frame_table(f: Findings, s: Scores) -> Html:
    rows = [
        [
            [swatch(f.colour(str(name))), str(name)],
            f"{int(r['frames']):,}",
            f"{int(r['present']):,}",
            with_range(r, "precision"),
            with_range(r, "recall"),
            with_range(r, "f1"),
            _two(r["chance_f1"]),
            with_range(r, "average_precision"),
            percent(r["present"] / r["frames"] if r["frames"] else math.nan),
        ]
        for name, r in s.table.iterrows()
    ]
    return table(
        [
            "behaviour",
            "frames scored",
            "present",
            "precision",
            "recall",
            "F1",
            "chance F1",
            "average precision",
            "chance",
        ],
        rows,
        "Frames. Precision: how much of what was called is true. Recall: how much of what is there "
        "was called. Average precision: how well frames are ranked, whatever the threshold; its "
        "chance is the share of frames that are present. Small figures: 95 % intervals.",
    )


def _bout_table(f: Findings, s: Scores) -> Html:
    rows = [
        [
            [swatch(f.colour(str(name))), str(name)],
            int(r["bouts"]),
            int(r["called_bouts"]),
            _two(r["segment_f1_10"]),
            _two(r["segment_f1_25"]),
            with_range(r, "segment_f1_50"),
            _two(r["banos_detection"]),
            _two(r["banos_overlap"]),
            _two(r["banos_timing"]),
            _two(r["banos_continuity"]),
            _two(r["latency_error_s"]),
        ]
        for name, r in s.table.iterrows()
    ]
    return table(
        [
            "behaviour",
            "true bouts",
            "called",
            "F1@10",
            "F1@25",
            "F1@50",
            "detection",
            "overlap",
            "timing",
            "continuity",
            "latency error (s)",
        ],
        rows,
        "Bouts. F1@25: a called bout counts if it overlaps a true one by a quarter of the two "
        "together. Detection to continuity are the four BANOS scores: found at all, overlap of "
        "those found, exactness of their ends, and absence of flicker within them.",
    )


def _subject_table(f: Findings) -> Html | None:
    if not f.by_subject:
        return None
    rows = [
        [
            subject,
            str(name),
            f"{int(r['frames']):,}",
            f"{int(r['present']):,}",
            int(r["bouts"]),
            with_range(r, "f1"),
            with_range(r, "average_precision"),
        ]
        for subject, each in f.by_subject.items()
        for name, r in each.table.iterrows()
    ]
    return table(
        ["subject", "behaviour", "frames scored", "present", "bouts", "F1", "average precision"],
        rows,
        "The same for each subject alone.",
        text=2,
    )


def probabilities(f: Findings) -> Html:
    """Whether probabilities mean what they say."""
    if not f.pairings or f.scores is None:
        return section(
            "probabilities",
            "Whether probabilities can be believed",
            h("p", "No probabilities could be scored."),
        )
    figures = []
    for i, name in enumerate(f.behaviours):
        bins = np.zeros((calibration.N_BINS, 3))
        for p in f.pairings:
            known = frames.scored(p.truth, p.called)[:, i]
            bins += calibration.bin_sums(p.truth[known, i] == PRESENT, p.probability[known, i])
        error = float(f.scores.table.loc[name, "calibration_error"])  # pyright: ignore
        figures.append(
            h(
                "figure",
                h("figcaption", swatch(f.colour(name)), name),
                charts.reliability(bins, f.colour(name), f"Reliability of {name}"),
                h("figcaption", f"calibration error {error:.2f}", class_="note"),
            )
        )
    return section(
        "probabilities",
        "Whether probabilities can be believed",
        h(
            "p",
            "Each dot: frames that were given about the same probability (across), and the share "
            "of them in which the behaviour is really present (up). On the broken line they agree. "
            "Below it the probe claims too much. Larger dots stand for more frames. Calibration "
            "error: the mean distance from the line, 0 is best.",
        ),
        h("div", figures, class_="multiples"),
    )


def mixed_up(f: Findings) -> Html:
    """Confusion within exclusive groups; what holds at once."""
    parts: list[object] = []
    names = list(f.behaviours)
    for group in f.ethogram.exclusive:
        members = [n for n in group if n in names]
        if len(members) < 2 or not f.pairings:
            continue
        columns = [names.index(n) for n in members]
        counts = sum(
            (numbers.confusion(p.truth, p.called, columns) for p in f.pairings),
            np.zeros((len(members) + 1, len(members) + 1), np.int64),
        )
        outcomes = [*members, "none of them"]
        totals = counts.sum(axis=1)
        parts.append(
            h(
                "figure",
                h(
                    "figcaption",
                    h("strong", "Confusion"),
                    ": of 100 frames that are the row, how many were called the column",
                ),
                matrices.matrix(
                    numbers.shares(counts),
                    outcomes,
                    outcomes,
                    "Confusion",
                    support=totals.tolist(),
                    faint=(totals < 25).tolist(),
                ),
            )
        )
    sources = [("people", [v.states for v in f.views])]
    if f.pairings:
        sources = [
            ("people", [p.truth for p in f.pairings]),
            ("the probe", [p.called for p in f.pairings]),
        ]
    for who, each in sources:
        counts = sum_of(numbers.together, each, len(names))
        own = np.diag(counts).astype(np.float64)
        share = np.full(counts.shape, math.nan)
        np.divide(counts, own[:, None], out=share, where=own[:, None] > 0)
        np.fill_diagonal(share, math.nan)
        parts.append(
            h(
                "figure",
                h(
                    "figcaption",
                    h("strong", f"At once, by {who}"),
                    ": of 100 frames with the row, how many show the column as well",
                ),
                matrices.matrix(
                    share,
                    names,
                    names,
                    f"What holds at once, by {who}",
                    support=own.astype(int).tolist(),
                    faint=(own < 25).tolist(),
                ),
            )
        )
    return section(
        "confusion",
        "What is mixed up, and what holds at once",
        h("p", "n: frames of the row in which every behaviour is known."),
        h("div", parts, class_="two"),
    )


def people(f: Findings) -> Html:
    """How far annotators agree, and the probe beside them."""
    if f.agreement.empty:
        return section(
            "people",
            "How far people agree",
            h(
                "p",
                "No two people labelled the same frames, so it is not known how well a person "
                "would do. Have a second person label a part without seeing the first one's "
                "labels.",
            ),
        )
    parts: list[object] = [
        h(
            "p",
            "Kappa (Cohen) is agreement beyond chance: 1 is full agreement, 0 is what chance "
            "gives. No probe can be expected to agree with people better than people agree with "
            "each other.",
        )
    ]
    t = f.agreement if f.agreement_with_probe.empty else f.agreement_with_probe
    parts.append(_agreement_table(t))
    if not f.agreement_with_probe.empty:
        parts.append(
            h(
                "p",
                f"All pairs are compared on the held-out frames; {PROBE} stands beside them.",
                class_="note",
            )
        )
    return section("people", "How far people agree", parts)


def _agreement_table(t: pd.DataFrame) -> Html:
    rows = [
        [
            str(r["annotators"]),
            str(r["behaviour"]),
            f"{int(r['frames']):,}",
            with_range(r, "kappa"),
            _two(r.get("alpha", math.nan)),
            _two(r.get("segment_f1_50", math.nan)),
        ]
        for _, r in t.iterrows()
    ]
    return table(
        ["pair", "behaviour", "frames", "kappa", "alpha", "bouts, F1@50"], rows, None, text=2
    )


def learning(f: Findings) -> Html:
    """The losses of the training."""
    log = list(f.probe.training.get("log", ())) if f.probe is not None else []
    if not log:
        return section("learning", "How the probe learnt", h("p", "No training is recorded."))
    steps = [float(item["step"]) for item in log]
    lines = {
        name: [float(item[key]) if item.get(key) is not None else math.nan for item in log]
        for name, key in (("learnt from", "train"), ("held back", "validation"))
    }
    held = [v if math.isfinite(v) else math.inf for v in lines["held back"]]
    best = steps[int(np.argmin(held))]
    return section(
        "learning",
        "How the probe learnt",
        h(
            "figure",
            charts.curves(steps, lines, best, "Loss by training step"),
            h(
                "figcaption",
                "Loss (lower is better) on frames that were learnt from and on frames that "
                f"were held back to stop the training. Kept: step {best:g}, the broken line. Where "
                "the two lines part, the probe begins to learn by heart.",
            ),
        ),
    )


def with_range(r: pd.Series, name: str) -> list[object]:
    """A figure with its interval in small print."""
    low, high = r.get(f"{name}_low", math.nan), r.get(f"{name}_high", math.nan)
    if not (math.isfinite(low) and math.isfinite(high)):
        return [_two(r[name])]
    return [_two(r[name]), h("br"), h("small", f"{low:.2f}–{high:.2f}")]


def _two(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"
