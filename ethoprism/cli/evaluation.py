"""Commands that say what predictions and labels are worth: ``evaluate`` and ``agreement``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethoprism.cli.common import (
    ProbeName,
    ProjectFolder,
    Recordings,
    app,
    open_project,
    require_recordings,
    split_names,
    warn_untrained,
)

if TYPE_CHECKING:
    import pandas as pd

    from ethoprism.metrics.summary import Scores

Csv = Annotated[Path | None, typer.Option("--csv", help="Also write all figures to this file.")]
Resamples = Annotated[
    int, typer.Option(min=1, help="How often recordings are drawn again for the intervals.")
]
Seed = Annotated[int, typer.Option(help="Of what is drawn.")]


@app.command()
def evaluate(
    project: ProjectFolder,
    probe: ProbeName = "probe",
    recording: Recordings = None,
    csv: Csv = None,
    all: Annotated[
        bool,
        typer.Option("--all", help="Score frames that the probe was trained on as well."),
    ] = False,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Score predictions against labels, on frames that the probe has not seen."""
    from ethoprism import console, scoring, workflow

    opened = open_project(project)
    require_recordings(opened)
    loaded = workflow.probe_from(opened, probe)
    warn_untrained(loaded.key.label, loaded.key.trained)
    result = scoring.evaluate(
        opened, loaded, recording or (), include_seen=all, n_resamples=resamples, seed=seed
    )
    console.say(f"Probe {probe!r} on {loaded.key.label}, against people's labels:")
    for sentence in result.scope:
        console.say(f"  {sentence}")
    if result.seen:
        console.note(
            "INCLUDES TRAINING FRAMES: these figures do not say how the probe does on new "
            "recordings. Leave out --all to see that."
        )
    _print_scores(result.scores, "INCLUDES TRAINING FRAMES: " if result.seen else "")
    if result.by_subject:
        _explain("Subjects", "The same scores, each subject alone.")
        console.table(_by_subject(result.by_subject))
    if len(result.agreement):
        _explain(
            "The probe beside people",
            "No probe can be expected to agree with people better than people agree with each "
            "other. All pairs are compared on the frames scored above.",
        )
        _print_agreement(result.agreement)
    if csv:
        _write(result.table(), csv)
        if len(result.agreement):
            _write(result.agreement, csv.with_name(f"{csv.stem}.agreement.csv"))


@app.command()
def agreement(
    project: ProjectFolder,
    recording: Recordings = None,
    behaviours: Annotated[str, typer.Option(help="Names; all by default.")] = "",
    csv: Csv = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Compare annotators who labelled the same recordings."""
    from ethoprism import scoring
    from ethoprism.errors import LabelError

    opened = open_project(project)
    require_recordings(opened)
    names = split_names(behaviours)
    unknown = [name for name in names if name not in opened.ethogram]
    if unknown:
        raise LabelError(
            "The ethogram lacks behaviours that were asked for",
            expected=", ".join(opened.ethogram.names),
            found=", ".join(unknown),
        )
    table = scoring.project_agreement(
        opened, recording or (), names, n_resamples=resamples, seed=seed
    )
    _explain("Agreement", "On frames that both of a pair observed.")
    _print_agreement(table)
    if csv:
        _write(table, csv)


def _print_scores(scores: Scores, mark: str) -> None:
    from ethoprism import console

    t = scores.table
    _explain(
        f"{mark}Frames",
        "Precision: how much of what was called is true. Recall: how much of what is there was "
        "called. F1: both in one. 'chance' is the F1 of calling every frame present.",
    )
    console.table(
        _columns(
            t,
            {
                "frames": t["frames"],
                "present": t["present"],
                "precision": t["precision"],
                "recall": t["recall"],
                "F1": t["f1"],
                "95 % of F1": _range(t, "f1"),
                "chance": t["chance_f1"],
            },
        )
    )
    _explain(
        f"{mark}Ranking and calibration",
        "AP: how well frames are ranked, whatever the threshold; chance is the share of frames "
        "that are present. ECE: how far a stated probability is from the true frequency; 0 is "
        "best.",
    )
    console.table(
        _columns(
            t,
            {
                "share": t["present"] / t["frames"],
                "AP": t["average_precision"],
                "95 % of AP": _range(t, "average_precision"),
                "ECE": t["calibration_error"],
                "adaptive ECE": t["adaptive_calibration_error"],
            },
        )
    )
    o = scores.overall
    console.say(
        "Mean AP, background left out: "
        + _with_range(o, "mean_average_precision")
        + ". Edit score of all behaviours together: "
        + _with_range(o, "edit")
    )
    _print_bouts(t, mark)
    console.say(
        f"Intervals: {scores.drawn} drawn again. They say how the figures would vary with other "
        "recordings of this kind"
        + ("." if "recordings" in scores.drawn else ", and are too narrow with so few recordings.")
    )


def _print_bouts(t: pd.DataFrame, mark: str) -> None:
    from ethoprism import console

    _explain(
        f"{mark}Bouts",
        "F1@25: a called bout counts if it overlaps a true one by a quarter of the two together. "
        "Edit: whether the order of bouts is right; of one behaviour, their number.",
    )
    console.table(
        _columns(
            t,
            {
                "true": t["bouts"],
                "called": t["called_bouts"],
                "F1@10": t["segment_f1_10"],
                "F1@25": t["segment_f1_25"],
                "F1@50": t["segment_f1_50"],
                "95 % of F1@50": _range(t, "segment_f1_50"),
                "edit": t["edit"],
            },
        )
    )
    _explain(
        f"{mark}BANOS",
        "Of bouts: found at all (F1), overlap of those found, timing of their ends (1: exact to "
        "the frame), and continuity inside true bouts (1: no flicker).",
    )
    console.table(
        _columns(
            t,
            {
                "true bouts": t["bouts"],
                "detection": t["banos_detection"],
                "overlap": t["banos_overlap"],
                "timing": t["banos_timing"],
                "continuity": t["banos_continuity"],
            },
        )
    )
    _explain(
        f"{mark}What a study counts",
        "Bouts, share of the time, and seconds from the start of an observed stretch to the first "
        "bout: mean error, and mean lateness (+) or earliness (-), over stretches with both.",
    )
    console.table(
        _columns(
            t,
            {
                "bouts": t["bouts"],
                "error": t["bout_count_error"].astype(int),
                "% of time": 100 * t["time_share"],
                "error, points": 100 * t["time_share_error"],
                "stretches": t["latencies"],
                "latency error, s": t["latency_error_s"],
                "late, s": t["latency_bias_s"],
            },
        )
    )


def _print_agreement(table: pd.DataFrame) -> None:
    import pandas as pd

    from ethoprism import console

    t = table.reindex(
        columns=[
            *("annotators", "behaviour", "frames", "present_1", "present_2"),
            *("kappa", "kappa_low", "kappa_high", "alpha"),
            *("segment_f1_10", "segment_f1_25", "segment_f1_50"),
        ]
    )
    console.say(
        "Kappa (Cohen) and alpha (Krippendorff): agreement beyond chance, 1 is full, 0 is chance. "
        "F1@50: bouts of one that overlap one of the other by half of the two together."
    )
    for pair, rows in t.groupby("annotators", sort=False):
        shown = {
            "behaviour": rows["behaviour"],
            "frames": rows["frames"].astype(int),
            "1st": rows["present_1"].astype("Int64"),
            "2nd": rows["present_2"].astype("Int64"),
            "kappa": rows["kappa"],
            "95 %": _range(rows, "kappa"),
            "alpha": rows["alpha"],
            "F1@10": rows["segment_f1_10"],
            "F1@25": rows["segment_f1_25"],
            "F1@50": rows["segment_f1_50"],
        }
        frame = pd.DataFrame(shown)
        empty = [c for c in ("1st", "2nd", "95 %") if frame[c].isin(["–"]).all()]
        empty += [c for c in frame.columns if frame[c].isna().all()]
        console.table(frame.drop(columns=list(dict.fromkeys(empty))), str(pair))


def _by_subject(scores: dict[str, Scores]) -> pd.DataFrame:
    import pandas as pd

    tables = []
    for name, each in scores.items():
        t = each.table
        shown = {
            "frames": t["frames"],
            "present": t["present"],
            "bouts": t["bouts"],
            "F1": t["f1"],
            "95 % of F1": _range(t, "f1"),
            "AP": t["average_precision"],
            "F1@50": t["segment_f1_50"],
        }
        tables.append(_columns(t, shown).assign(subject=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["subject", *(c for c in table.columns if c != "subject")]]


def _columns(table: pd.DataFrame, columns: dict[str, pd.Series]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"behaviour": table.index, **{k: v.array for k, v in columns.items()}})


def _range(table: pd.DataFrame, name: str) -> pd.Series:
    import pandas as pd

    low, high = table[f"{name}_low"], table[f"{name}_high"]
    cells = [
        "–" if pd.isna(a) or pd.isna(b) else f"{a:.2f} to {b:.2f}"
        for a, b in zip(low, high, strict=True)
    ]
    return pd.Series(cells, index=table.index)


def _with_range(values: object, name: str) -> str:
    from collections.abc import Mapping

    if not isinstance(values, Mapping):
        raise TypeError("expected figures by name")
    value, low, high = (values[name + end] for end in ("", "_low", "_high"))
    if value != value:
        return "not defined"
    return f"{value:.2f}" + (f" (95 %: {low:.2f} to {high:.2f})" if low == low else "")


def _explain(title: str, sentence: str) -> None:
    from ethoprism import console

    console.say(f"\n{title}. {sentence}")


def _write(table: pd.DataFrame, path: Path) -> None:
    from ethoprism import console
    from ethoprism.files import replacing

    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
    console.wrote(path)
