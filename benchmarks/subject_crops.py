"""The same probe on whole frames, on a region and on crops that follow each fly.

    python benchmarks/subject_crops.py RECORDINGS_FOLDER [--quick] [--json]

The clip is ``courting_flies_120s`` with its SLEAP tracks. Its labels are derived from the poses by
rule, not scored by a person; wing extension has six bouts, so every figure is indicative. Each of
ten blocks is predicted once by a probe that saw neither it nor a frame near it; that is repeated
for each seed. Intervals (80 %) resample the ten blocks. ``--quick`` takes every fourth frame, one
fold and one seed, whole frames and the male.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import flies
import numpy as np
import pandas as pd
from flies import BLOCKS, NAME, finish
from sklearn.metrics import average_precision_score, roc_auc_score

from ethoprism import subjects, workflow
from ethoprism.crops import Region
from ethoprism.evaluate import chance_f1
from ethoprism.probe.batches import LabelledTokens
from ethoprism.project import Project
from ethoprism.subjects import Unit
from ethoprism.tracks import read_tracks

MALE, FEMALE = "track_0", "track_1"
OF_SUBJECT = {
    "wing_extension_track0": MALE,
    "chase_track0": MALE,
    "close_proximity": MALE,
    "moving_track0": MALE,
    "moving_track1": FEMALE,
}
CROPS = ("whole", "region", "subject 2 lengths", "subject 4 lengths")


def project_of(videos: Path, folder: Path, step: int) -> Project:
    """A project of the clip with its labels, tracks, and the region that the flies walk in."""
    project = flies.project_of(videos, folder, step)
    entry = project.entry(NAME)
    tracks, _ = read_tracks(videos / f"{NAME}.analysis.h5", entry.n_frames)
    subjects.save_tracks(project, NAME, tracks)
    boxes = np.concatenate([track.boxes for track in tracks])
    left, top = np.floor(np.nanmin(boxes[:, :2], axis=0)).astype(int).tolist()
    right, bottom = np.ceil(np.nanmax(boxes[:, 2:], axis=0)).astype(int).tolist()
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, entry.width), min(bottom, entry.height)
    region = Region(left=left, top=top, width=right - left, height=bottom - top)
    return subjects.set_region(project, NAME, region)


def scores(truth: np.ndarray, states: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """F1, average precision and AUC of one behaviour where it was predicted."""
    known = (states >= 0) & (truth >= 0)
    t, s, p = truth[known] == 1, states[known] == 1, probability[known]
    if t.all() or not t.any():
        return {
            "f1": np.nan,
            "ap": np.nan,
            "auc": np.nan,
            "chance_f1": np.nan,
            "prevalence": np.nan,
        }
    hit = (t & s).sum()
    return {
        "f1": float(2 * hit / (t.sum() + s.sum())),
        "ap": float(average_precision_score(t, p)),
        "auc": float(roc_auc_score(t, p)),
        "chance_f1": float(chance_f1(float(t.mean()))),
        "prevalence": float(t.mean()),
    }


def interval(truth, states, probability, what: str, draws: int = 200) -> tuple[float, float]:
    """80 % interval of a score over blocks drawn with replacement."""
    rng = np.random.default_rng(0)
    blocks = np.array_split(np.arange(len(truth)), BLOCKS)
    values = []
    for _ in range(draws):
        rows = np.concatenate([blocks[i] for i in rng.integers(0, BLOCKS, BLOCKS)])
        values.append(scores(truth[rows], states[rows], probability[rows])[what])
    low, high = np.nanpercentile(values, [10, 90])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recordings", type=Path, help="folder with the clip, labels and tracks")
    parser.add_argument("--quick", action="store_true", help="every fourth frame, one fold")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--crop", action="append", help="only this crop; may be repeated")
    options = parser.parse_args()
    seeds, folds = (1, [2]) if options.quick else (options.seeds, range(BLOCKS // 2))
    result: dict[str, object] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        project = project_of(options.recordings, Path(folder) / "p", 4 if options.quick else 1)
        backbone = workflow.load_backbone(project.settings)
        truth = workflow.label_states(project, [NAME], list(OF_SUBJECT))[NAME]
        for crop in options.crop or (CROPS[::2] if options.quick else CROPS):
            project = project.with_settings(replace(project.settings, crop=crop))
            finish(workflow.extract_tokens(project, backbone))
            key = workflow.project_key(project, backbone)
            followed = (MALE,) if options.quick else (MALE, FEMALE)
            for subject in followed if crop.startswith("subject") else ("",):
                names = [n for n, of in OF_SUBJECT.items() if subject in ("", of)]
                columns = [list(OF_SUBJECT).index(name) for name in names]
                store = workflow.open_tokens(project, key, Unit(NAME, subject))
                item = LabelledTokens(NAME, store, truth[:: key.step, columns], subject)
                runs = [
                    flies.cross_validate(project, item, folds, s, names)[:2] for s in range(seeds)
                ]
                for i, (column, name) in enumerate(zip(columns, names, strict=True)):
                    found = [scores(truth[:, column], a[:, i], b[:, i]) for a, b in runs]
                    mean = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
                    low, high = interval(
                        truth[:, column], runs[0][0][:, i], runs[0][1][:, i], "auc"
                    )
                    rows.append(
                        {"behaviour": name, "crop": crop, **mean, "auc_low": low, "auc_high": high}
                    )
                    slug = f"{name}_{crop.replace(' ', '_')}"
                    for k in ("f1", "ap", "auc"):
                        result[f"{k}_{slug}"] = round(mean[k], 3)
                    result[f"auc_interval_{slug}"] = [round(low, 3), round(high, 3)]
        table = pd.DataFrame(rows).sort_values(["behaviour", "crop"])
        print(f"{backbone.card.label}, pose-derived labels, {seeds} seeds, {len(folds)} folds")
        print(table.round(3).to_string(index=False))
        result["backbone"] = backbone.card.label
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
