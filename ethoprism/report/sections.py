"""The sections of the page that stand before the scores: labels, rasters, time, bouts."""

from __future__ import annotations

import math

import numpy as np

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.report import charts, numbers
from ethoprism.report.charts import Measured
from ethoprism.report.gather import Findings, View
from ethoprism.report.markup import Html, h, table
from ethoprism.report.rasters import RasterRow, raster
from ethoprism.report.scales import clock
from ethoprism.report.sentences import percent, sentences


def summary(f: Findings) -> Html:
    """What may be concluded, and what not."""
    said = sentences(f)
    boxes = [h("div", [h("p", line) for line in said.warnings], class_="box", role="note")]
    columns = [
        (title, lines)
        for title, lines in (
            ("What may be concluded", said.may),
            ("What may not be concluded", said.may_not),
        )
        if lines
    ]
    if f.scores is not None and not said.may:
        columns.insert(
            0,
            ("What may be concluded", ("Nothing yet: no behaviour is clearly told from chance.",)),
        )
    return section(
        "summary",
        "In short",
        [h("p", line) for line in said.lead],
        boxes if said.warnings else None,
        h(
            "div",
            [
                h("div", h("h3", title), h("ul", [h("li", line) for line in lines]))
                for title, lines in columns
            ],
            class_="two verdicts",
        )
        if columns
        else None,
    )


def facts(f: Findings) -> Html:
    """A strip of the figures that one looks for first."""
    total = sum(float(v.seconds.sum()) for v in f.views)
    seen = sum(float(v.seconds[v.observed].sum()) for v in f.views)
    bouts = sum(
        len(runs(v.states[:, i] == PRESENT)) for v in f.views for i in range(len(f.behaviours))
    )
    items: list[tuple[object, str]] = [
        (len(f.recordings), "recordings" if len(f.recordings) != 1 else "recording"),
        (clock(total, 61), "time in all"),
        (percent(seen / total if total else 0.0), "of it observed"),
        (f"{bouts:,}", "labelled bouts"),
    ]
    if f.scores is not None:
        o = f.scores.overall
        f1 = (
            float(np.nanmean(f.scores.table["f1"]))
            if f.scores.table["f1"].notna().any()
            else math.nan
        )
        chance = f.scores.table["chance_f1"]
        base = float(np.nanmean(chance)) if chance.notna().any() else math.nan
        items += [
            (f"{f1:.2f}", f"mean F1 (chance {base:.2f})"),
            (f"{o['mean_average_precision']:.2f}", "mean average precision"),
        ]
    cells = [h("div", h("dd", value), h("dt", what)) for value, what in items]
    return h("dl", cells, class_="facts")


def labels(f: Findings) -> Html:
    """What people labelled: frames, bouts, and how much of the time was observed."""
    rows = []
    for i, name in enumerate(f.behaviours):
        states = [v.states[:, i] for v in f.views]
        observed = sum(float(v.seconds[v.states[:, i] != UNOBSERVED].sum()) for v in f.views)
        present = sum(float(v.seconds[v.states[:, i] == PRESENT].sum()) for v in f.views)
        definition = f.ethogram[name].definition if name in f.ethogram else ""
        label = [swatch(f.colour(name)), name]
        if definition:
            label.append(h("div", definition, class_="note"))
        rows.append(
            [
                label,
                clock(observed, 61),
                clock(present, 61),
                percent(present / observed if observed else math.nan),
                sum(len(runs(s == PRESENT)) for s in states),
                sum(bool((s == PRESENT).any()) for s in states),
            ]
        )
    whose = "subjects" if any(v.unit.subject for v in f.views) else "recordings"
    return section(
        "labels",
        "What people labelled",
        table(
            ["behaviour", "observed", "present", "share", "bouts", f"{whose} that show it"],
            rows,
            "Times in minutes and seconds. Time that nobody observed counts neither as present nor "
            "as absent.",
        ),
    )


def rasters(f: Findings) -> Html:
    """Behaviour over time, people's and the probe's."""
    figures = []
    for view in f.views:
        rows = [RasterRow("true", view.states)]
        if view.called is not None:
            rows.append(RasterRow("predicted", view.called))
        colours = {name: f.colour(name) for name in f.behaviours}
        svg = raster(
            view.edges,
            f.behaviours,
            colours,
            rows,
            view.learnt,
            f"Behaviours of {view.unit.name} over time: {', '.join(r.name for r in rows)}",
        )
        figures.append(
            h("figure", h("figcaption", h("strong", view.unit.name), _part(f, view)), svg)
        )
    key = (
        [h("li", "upper line, full colour: people"), h("li", "lower line, pale: the probe")]
        if f.probe
        else []
    )
    key.append(h("li", h("span", class_="swatch", style="background:var(--wash)"), "not observed"))
    if any(v.learnt.any() for v in f.views):
        seen = "background:color-mix(in srgb,var(--warn) 30%,transparent)"
        key.append(
            h(
                "li",
                h("span", class_="swatch", style=seen),
                "band above: frames that the probe learnt from or was tuned on; "
                "agreement there proves nothing",
            )
        )
    return section("rasters", "Behaviour over time", h("ul", key, class_="key"), figures)


def _part(f: Findings, view: View) -> str:
    if f.probe is None:
        return ""
    if view.called is None:
        return " · no prediction"
    if not view.learnt.any():
        return " · not learnt from" + ("" if view.observed.any() else ", not labelled")
    if view.learnt.all():
        return " · learnt from or tuned on throughout"
    return f" · {percent(float(view.learnt.mean()))} learnt from or tuned on, or too near to it"


def time_budgets(f: Findings) -> Html:
    """Shares of the time: true and predicted where both are known, predicted elsewhere."""
    parts: list[object] = []
    if f.scores is not None:
        rows = []
        for name, row in f.scores.table.iterrows():
            true = Measured(
                str(name),
                float(row["time_share"]),
                float(row["time_share_low"]),
                float(row["time_share_high"]),
                note=f"{percent(row['time_share'])} true",
            )
            called = Measured(
                str(name),
                float(row["called_time_share"]),
                float(row["called_time_share_low"]),
                float(row["called_time_share_high"]),
                note=f"{percent(row['called_time_share'])} predicted",
            )
            if math.isfinite(true.value):
                rows.append((str(name), f.colour(str(name)), true, called))
        parts.append(
            h(
                "figure",
                charts.budget(rows, "Share of the scored time, true and predicted"),
                h(
                    "figcaption",
                    "Share of the scored time. Full: by people. Pale: by the probe. "
                    f"Whiskers: 95 % intervals, {f.scores.drawn} drawn again. Behaviours may "
                    "hold at once, so shares need not add up to 100 %.",
                ),
            )
        )
    else:
        rows = []
        for i, name in enumerate(f.behaviours):
            observed = sum(float(v.seconds[v.states[:, i] != UNOBSERVED].sum()) for v in f.views)
            present = sum(float(v.seconds[v.states[:, i] == PRESENT].sum()) for v in f.views)
            if observed:
                share = present / observed
                rows.append(
                    (name, f.colour(name), Measured(name, share, note=percent(share)), None)
                )
        if rows:
            parts.append(
                h(
                    "figure",
                    charts.budget(rows, "Share of the observed time"),
                    h("figcaption", "Share of the observed time, by people."),
                )
            )
    per_view = _per_view(f)
    if per_view is not None:
        parts.append(per_view)
    return section("budgets", "Time budgets", parts or h("p", "Nothing was observed."))


def _per_view(f: Findings) -> Html | None:
    """Predicted shares of whole recordings, with people's beside them where all was observed."""
    if f.probe is None or not any(v.called is not None for v in f.views):
        return None
    rows = []
    for v in f.views:
        if v.called is None:
            continue
        cells: list[object] = []
        for i in range(len(f.behaviours)):
            covered = v.called[:, i] != UNOBSERVED
            whole = float(v.seconds[covered].sum())
            called = (
                float(v.seconds[v.called[:, i] == PRESENT].sum()) / whole if whole else math.nan
            )
            known = v.states[:, i] != UNOBSERVED
            cell: list[object] = [percent(called)]
            if known.all():
                true = float(
                    v.seconds[v.states[:, i] == PRESENT].sum() / max(v.seconds.sum(), 1e-9)
                )
                cell.append(h("small", f" / {percent(true)}"))
            cells.append(cell)
        mark = "" if not v.learnt.any() else "partly " if not v.learnt.all() else "wholly "
        rows.append([v.unit.name, f"{mark}learnt from" if mark else "new to the probe", *cells])
    return table(
        ["", "", *f.behaviours],
        rows,
        "Predicted share of each whole recording; after the stroke the true one, where people "
        "observed all of it. Shares of recordings that the probe learnt from are not tests.",
        text=2,
    )


def bout_lengths(f: Findings) -> Html:
    """How long bouts last, by people and by the probe on the same frames."""
    figures = []
    for i, name in enumerate(f.behaviours):
        true, called = _lengths(f, i)
        said = f"{len(true)} true" + (f", median {np.median(true):.2f} s" if len(true) else "")
        if f.scores is not None:
            said += f"; {len(called)} predicted"
            said += f", median {np.median(called):.2f} s" if len(called) else ""
        figures.append(
            h(
                "figure",
                h("figcaption", swatch(f.colour(name)), name),
                charts.histogram(true, called, f.colour(name), f"Bout lengths of {name}: {said}"),
                h("figcaption", said, class_="note"),
            )
        )
    where = (
        "Filled: bouts that people saw; line: bouts that the probe called, on the same held-out "
        "frames. "
        if f.scores is not None
        else "Bouts that people saw. "
    )
    return section(
        "bouts",
        "How long bouts last",
        h(
            "p",
            where + "Bouts that touch unobserved time are left out. A second peak of the line at "
            "very short bouts means that predictions flicker.",
        ),
        h("div", figures, class_="multiples"),
    )


def _lengths(f: Findings, column: int) -> tuple[np.ndarray, np.ndarray]:
    true, called = [np.zeros(0)], [np.zeros(0)]
    if f.pairings:
        for p in f.pairings:
            edges = np.append(p.times, p.times[-1] + p.seconds[-1])
            known = (p.truth[:, column] != UNOBSERVED) & (p.called[:, column] != UNOBSERVED)
            for rows, into in ((p.truth, true), (p.called, called)):
                states = np.where(known, rows[:, column], UNOBSERVED).astype(np.int8)
                into.append(numbers.bout_seconds(states, edges))
    else:
        true += [
            numbers.bout_seconds(np.ascontiguousarray(v.states[:, column]), v.edges)
            for v in f.views
        ]
    return np.concatenate(true), np.concatenate(called)


def section(name: str, title: str, *children: object) -> Html:
    """A section with its heading, which the page's contents link to."""
    return h(
        "section",
        h("h2", title, id=f"{name}-title"),
        children,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def swatch(colour: str) -> Html:
    """A small square in a behaviour's colour."""
    return h("span", class_="swatch", style=f"background:{colour}")
