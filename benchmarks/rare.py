"""A rare behaviour on the arena: recall at 80 % precision, by loss and head.

    python benchmarks/rare.py [--quick] [--json] [--keep FOLDER]

Recordings of the simulated arena through ``prism-nano``, untrained. ``chase`` is made rare: in
recordings to learn from and to tune on, all bouts but a few are cut out with the frames around
them, and in recordings to test on likewise, until it fills about 1 % of the frames. Behaviours are
those of either animal. Each seed draws other recordings to test on, other bouts to keep and other
parameters. Probability, not calls, is judged: recall at the best threshold with a precision of 80 %
at least, on the test recordings, beside average precision.

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

from ethoprism import registry, workflow
from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.demo import _project
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.metrics.frames import average_precision
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.train import Schedule, train_and_test
from ethoprism.project import Project
from ethoprism.subjects import Unit

RARE = "chase"
SHARE = 0.01
PRECISION = 0.8
AROUND = 12
CASES = (
    ("attentive", "cross-entropy"),
    ("attentive", "balanced"),
    ("attentive", "focal"),
    ("linear", "cross-entropy"),
    ("temporal", "cross-entropy"),
    ("temporal", "balanced"),
)


def project_of(folder: Path, recordings: int, seconds: float) -> Project:
    """Labelled recordings of the arena with their tokens."""
    arena = registry.load("datasets", "arena")
    videos = folder / "recordings"
    finish(arena.make(videos, recordings=recordings, seconds=seconds, seed=0))
    project = _project(folder / "project", videos, Ethogram())
    finish(workflow.extract_tokens(project, workflow.load_backbone(project.settings)))
    return project


def made_rare(states: dict[str, np.ndarray], column: int, rng: np.random.Generator):
    """States in which most bouts of one behaviour and the frames around them are unobserved.

    Bouts are kept, in random order, while together they are less than `SHARE` of the frames that
    are left; at least one in each recording.
    """
    result = {}
    for name, rows in states.items():
        present = rows[:, column] == PRESENT
        bouts = runs(present)
        spare = len(rows) - int(present.sum())
        kept = np.zeros(len(rows), bool)
        for number, index in enumerate(rng.permutation(len(bouts))):
            start, stop = bouts[index]
            if number and kept.sum() + stop - start > SHARE * spare:
                continue
            kept[start:stop] = True
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one seed, short recordings")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--keep", type=Path, help="folder for recordings and tokens")
    options = parser.parse_args()
    n, seconds = (4, 20.0) if options.quick else (8, 120.0)
    seeds = 1 if options.quick else options.seeds
    found: dict[str, dict[str, list[float]]] = {}
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        project = project_of(options.keep or Path(temporary), n, seconds)
        backbone = workflow.load_backbone(project.settings)
        key = workflow.project_key(project, backbone)
        names, ids = project.ethogram.names, project.recording_ids
        column = names.index(RARE)
        whole = workflow.label_states(project, ids, names)
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            order = [ids[i] for i in rng.permutation(len(ids))]
            states = made_rare(whole, column, rng)
            n_test, n_tuned = max(1, 3 * n // 8), max(1, n // 8)
            parts = ["test"] * n_test + ["validation"] * n_tuned
            parts += ["train"] * (n - len(parts))
            segments = [
                Segment(name, 0, len(states[name]), part)  # type: ignore[arg-type]
                for name, part in zip(order, parts, strict=True)
            ]
            data = [
                LabelledTokens(name, workflow.open_tokens(project, key, Unit(name)), states[name])
                for name in ids
            ]
            for head, loss in CASES[: 2 if options.quick else None]:
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
                _, tested = finish(task)
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
        print(f"{RARE} in {np.mean(shares):.1%} of the test frames, {backbone.card.label}")
    result: dict[str, object] = {"share": round(float(np.mean(shares)), 4)}
    for case, values in found.items():
        for name, each in values.items():
            result[f"{name}_{case.replace('-', '_')}"] = round(float(np.mean(each)), 3)
            result[f"{name}_{case.replace('-', '_')}_seeds"] = [round(v, 3) for v in each]
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
