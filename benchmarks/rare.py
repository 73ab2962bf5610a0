"""A rare behaviour on the arena: recall at 80 % precision, by loss and head.

    python benchmarks/rare.py [--quick] [--json] [--keep FOLDER]

Recordings of the simulated arena through ``prism-nano``, untrained, with crops that follow each
mouse. One behaviour is made rare: in all recordings, all bouts but a few are cut out with the
frames around them, until it fills about 1 % of the frames. It is ``groom``, which these tokens
show well where it is frequent (``--all`` leaves it so); with ``--behaviour chase`` next to nothing
reaches a precision of 80 %, since they hardly show it even with all labels. Each seed draws other
recordings to test on, other bouts to keep and other parameters. Probability, not calls, is judged:
recall at the best threshold with a precision of 80 % at least, on the test recordings, beside
average precision.

The baseline is plain cross-entropy with the attentive head, as the paper's probe.

``--quick`` is one seed with short recordings. ``--keep`` names a folder for the recordings and
tokens, so that another run need not make them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from flies import finish

from ethoprism import importing, registry, subjects, workflow
from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.metrics.frames import average_precision
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.train import Schedule, train_and_test
from ethoprism.project import Project, Settings
from ethoprism.tracks import read_tracks

RARE = "groom"
SHARE = 0.01
PRECISION = 0.8
AROUND = 12
CASES = tuple(
    (head, loss)
    for head in ("attentive", "linear", "temporal")
    for loss in ("cross-entropy", "balanced", "focal")
)


def project_of(folder: Path, recordings: int, seconds: float) -> Project:
    """Labelled recordings of the arena, tracks of its animals, tokens of crops that follow them."""
    where = folder / "project"
    if (where / "ethoprism.toml").exists():
        return Project.open(where)
    arena = registry.load("datasets", "arena")
    videos = folder / "recordings"
    finish(arena.make(videos, recordings=recordings, seconds=seconds, seed=300))
    project = Project.create(where, Settings(step=2, crop="subject 2 lengths"), Ethogram())
    for path in sorted(videos.glob("*.mp4")):
        project, name, _ = workflow.add_recording(project, path)
        request = importing.import_request(project, recording=name, observed="whole")
        preview = importing.preview_import(
            project, path.with_suffix(".bouts.csv"), "bouts-csv", request
        )
        project = importing.apply_import(project, preview, description="truth")
        tracks, _ = read_tracks(path.with_suffix(".tracks.csv"), project.entry(name).n_frames)
        subjects.save_tracks(project, name, tracks)
    finish(workflow.extract_tokens(project, workflow.load_backbone(project.settings)))
    return project


def made_rare(states: dict[str, np.ndarray], column: int, rng: np.random.Generator):
    """States in which most bouts of one behaviour and the frames around them are unobserved.

    Bouts are kept, in random order, while together they are less than `SHARE` of the frames that
    are left; at least one in each recording, of one of its animals.
    """
    result, shown = {}, set()
    for name, rows in states.items():
        present = rows[:, column] == PRESENT
        bouts = runs(present)
        spare = len(rows) - int(present.sum())
        kept = np.zeros(len(rows), bool)
        recording = name.partition("@")[0]
        for index in rng.permutation(len(bouts)):
            start, stop = bouts[index]
            if recording in shown and kept.sum() + stop - start > SHARE * spare:
                continue
            kept[start:stop] = True
            shown.add(recording)
        cut = np.zeros(len(rows), bool)
        for start, stop in bouts:
            if not kept[start]:
                cut[max(start - AROUND, 0) : stop + AROUND] = True
        result[name] = np.where((cut & ~kept)[:, None], UNOBSERVED, rows).astype(np.int8)
    return result


def recall_at(truth: np.ndarray, probability: np.ndarray, precision: float) -> float:
    """The largest recall of a threshold with this precision at least; 0 if none has it."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    ends = np.append(np.diff(probability[order]) != 0, True)
    enough = ends & (hits >= precision * np.arange(1, len(hits) + 1))
    return float(hits[enough].max() / truth.sum()) if enough.any() else 0.0


def interval(values: list[float]) -> str:
    """The mean over seeds, and its 95 % interval by Student's t."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{np.mean(values):.2f}"
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.2f} ({np.mean(values) - half:.2f} to {np.mean(values) + half:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one seed, short recordings")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--behaviour", default=RARE, help="what is made rare")
    parser.add_argument("--all", action="store_true", help="leave it as frequent as it is")
    parser.add_argument("--head", action="append", help="heads to compare (all)")
    parser.add_argument("--recordings", type=int, default=8, help="how many to make (8)")
    parser.add_argument("--keep", type=Path, help="folder for recordings and tokens")
    options = parser.parse_args()
    n, seconds = (4, 20.0) if options.quick else (options.recordings, 120.0)
    cases = [c for c in CASES if not options.head or c[0] in options.head]
    seeds = 1 if options.quick else options.seeds
    found: dict[str, dict[str, list[float]]] = {}
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        project = project_of(options.keep or Path(temporary), n, seconds)
        backbone = workflow.load_backbone(project.settings)
        key = workflow.project_key(project, backbone)
        names, ids = project.ethogram.names, project.recording_ids
        column = names.index(options.behaviour)
        found_units = subjects.units(project, key.crop)
        whole = {
            u.name: np.ascontiguousarray(workflow.unit_states(project, u, names)[:: key.step])
            for u in found_units
        }
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            order = [ids[i] for i in rng.permutation(len(ids))]
            states = whole if options.all else made_rare(whole, column, rng)
            n_test, n_tuned = max(1, 3 * len(ids) // 8), max(1, len(ids) // 5)
            parts = ["test"] * n_test + ["validation"] * n_tuned
            parts += ["train"] * (len(ids) - len(parts))
            rows = {u.recording: len(states[u.name]) for u in found_units}
            segments = [
                Segment(name, 0, rows[name], part)  # type: ignore[arg-type]
                for name, part in zip(order, parts, strict=True)
            ]
            data = [
                LabelledTokens(
                    u.recording, workflow.open_tokens(project, key, u), states[u.name], u.subject
                )
                for u in found_units
            ]
            for head, loss in cases[: 2 if options.quick else None]:
                task = train_and_test(
                    data,
                    segments,
                    project.ethogram,
                    names,
                    name="rare",
                    head=head,
                    schedule=Schedule(loss=loss),
                    seed=seed,
                    intervals=False,
                )
                probe, tested = finish(task)
                if options.all:
                    tested_on = probe.metrics["test"].items()
                    print({n: round(m["average_precision"], 2) for n, m in tested_on})
                rows = [
                    (t.states[t.covered, column], t.probability[t.covered, column]) for t in tested
                ]
                truth = np.concatenate([a == PRESENT for a, _ in rows])
                p = np.concatenate([b for _, b in rows])
                shares.append(float(truth.mean()))
                mine = found.setdefault(f"{head}_{loss}", {"recall": [], "ap": []})
                mine["recall"].append(recall_at(truth, p, PRECISION))
                mine["ap"].append(average_precision(truth, p))
                print(
                    f"seed {seed}, {head}, {loss}: recall at {PRECISION:.0%} precision "
                    f"{mine['recall'][-1]:.2f}, AP {mine['ap'][-1]:.2f}",
                    flush=True,
                )
        share = f"{np.mean(shares):.1%} of the test frames"
        print(f"{options.behaviour} in {share}, {backbone.card.label}")
    result: dict[str, object] = {"share": round(float(np.mean(shares)), 4)}
    for case, values in found.items():
        for name, each in values.items():
            result[f"{name}_{case.replace('-', '_')}"] = round(float(np.mean(each)), 3)
            result[f"{name}_{case.replace('-', '_')}_seeds"] = [round(v, 3) for v in each]
    for case, values in found.items():
        print(
            f"{case}: recall {interval(values['recall'])}, average precision "
            f"{interval(values['ap'])}, of {len(values['ap'])} seeds"
        )
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
