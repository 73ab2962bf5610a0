"""A probe on the courting flies: blocks with a gap, five folds, frame scores per behaviour.

    python benchmarks/flies.py RECORDINGS_FOLDER [--quick] [--json]

The labels were derived from poses by rule, not scored by a person; wing extension has six bouts, so
every figure is indicative. Each of ten blocks is predicted once, by a probe that saw neither it nor
a frame near it. Beside F1 stands chance (calling every frame present) and the same probe trained on
labels whose blocks of 25 frames were shuffled in time. ``--quick`` runs one fold on every fourth
frame.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ethoprism import importing, workflow
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import frame_scores, split_blocks
from ethoprism.prediction import Prediction, decide
from ethoprism.probe.batches import LabelledTokens, split_gap
from ethoprism.probe.model import default_context, fitting_context
from ethoprism.probe.predict import predict
from ethoprism.probe.train import DEFAULT_HEAD, train
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit

NAME = "courting_flies_120s"
FOLDS = 5
BLOCKS = 10


def finish(task):
    """The result of a generator task."""
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


def project_of(videos: Path, folder: Path, step: int) -> Project:
    """A project of the clip with its labels."""
    project = Project.create(folder, Settings(step=step), Ethogram())
    project, _, _ = workflow.add_recording(project, videos / f"{NAME}.mp4")
    request = importing.import_request(project)
    preview = importing.preview_import(
        project, videos / f"{NAME}.labels.csv", "frames-csv", request
    )
    return importing.apply_import(project, preview, description="pose-derived labels")


def cross_validate(
    project: Project,
    item: LabelledTokens,
    folds: Sequence[int],
    seed: int,
    names: Sequence[str] = (),
    *,
    held_out: int = 2,
    ensemble: int = 1,
    head: str = DEFAULT_HEAD,
    context: int | None = None,
):
    """States that each fold's probe decided for its test blocks, their probabilities, seconds.

    ``names`` are the columns of the item's states; the whole ethogram by default. Each fold holds
    out ``held_out`` of ten blocks. The networks of an ensemble are stopped and calibrated on parts
    of the other blocks in turn, so that together they learn from all of these. Frames that were not
    tested on, in the gaps and in other folds, have the state -1.
    """
    names = names or project.ethogram.names
    recording, key = project.recording(NAME), item.store.key
    states = np.full((recording.n_frames, len(names)), -1, np.int8)
    probability = np.zeros(states.shape, np.float32)
    seen = default_context(head, key.length) if context is None else context
    gap = split_gap(key, fitting_context(head, seen))
    seconds = []
    for fold in folds:
        tested = tuple(range(held_out * fold, held_out * (fold + 1)))

        def split(validation: Sequence[int] | None, tested: Sequence[int] = tested):
            return split_blocks(
                NAME,
                item.states,
                gap=gap,
                test_blocks=tested,
                validation_blocks=validation,
                seed=seed,
            )

        members = []
        if ensemble > 1:
            rest = [block for block in range(BLOCKS) if block not in tested]
            order = np.random.default_rng((seed, fold)).permutation(rest)
            members = [split(part.tolist()) for part in np.array_split(order, ensemble)]
        segments = members[0] if members else split(None)
        began = time.perf_counter()
        task = train(
            [item],
            segments,
            project.ethogram,
            names,
            name=f"fold{fold}",
            head=head,
            context=context,
            members=members,
            seed=seed,
        )
        probe = finish(task)
        seconds.append(time.perf_counter() - began)
        whole: Prediction = finish(predict(probe, recording, item.store))
        decided = decide(whole, probe.decision)
        for segment in segments:
            if segment.part == "test":
                frames = slice(segment.start * key.step, segment.stop * key.step)
                states[frames] = decided[frames]
                probability[frames] = whole.probability[frames]
    return states, probability, seconds


def shuffled(states: np.ndarray, seed: int) -> np.ndarray:
    """The states with blocks of 25 rows in random order."""
    blocks = np.array_split(np.arange(len(states)), len(states) // 25)
    order = np.random.default_rng(seed).permutation(len(blocks))
    return states[np.concatenate([blocks[i] for i in order])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recordings", type=Path, help="folder with the clip and its labels")
    parser.add_argument("--quick", action="store_true", help="one fold on every fourth frame")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = project_of(options.recordings, Path(folder) / "p", 4 if options.quick else 1)
        backbone = workflow.load_backbone(project.settings)
        began = time.perf_counter()
        finish(workflow.extract_tokens(project, backbone))
        extract_s = time.perf_counter() - began
        key = workflow.project_key(project, backbone)
        truth = workflow.label_states(project, [NAME], project.ethogram.names)[NAME]
        store = workflow.open_tokens(project, key, Unit(NAME))
        item = LabelledTokens(NAME, store, truth[:: key.step])
        folds = range(1 if options.quick else FOLDS)
        result: dict[str, object] = {
            "backbone": key.label,
            "frames": len(truth),
            "extraction_frames_per_s": round(item.store.n_rows / extract_s, 1),
        }
        control = LabelledTokens(NAME, item.store, shuffled(item.states, options.seed))
        for kind, used in (("true", item), ("shuffled", control)):
            states, probability, seconds = cross_validate(project, used, folds, options.seed)
            known = np.repeat(used.states, key.step, axis=0)[: len(truth)]
            table = frame_scores(known, states, probability, project.ethogram.names)
            print(
                f"{kind} labels, {key.label}, seed {options.seed}\n{table.round(3).to_string()}\n"
            )
            result[f"{kind}_f1"] = {k: round(v, 3) for k, v in table["f1"].items()}
            result[f"{kind}_ap"] = {k: round(v, 3) for k, v in table["average_precision"].items()}
            result[f"{kind}_chance_f1"] = {k: round(v, 3) for k, v in table["chance_f1"].items()}
            result[f"{kind}_train_s_median"] = round(float(np.median(seconds)), 1)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
