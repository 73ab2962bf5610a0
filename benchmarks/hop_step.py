"""What `hop` and `step` cost and what they bring, on the courting flies.

    python benchmarks/hop_step.py RECORDINGS_FOLDER [--quick] [--json] [--hop 1 --step 2 ...]

The clip is ``courting_flies_120s``, cut so that the crop follows the male (``--crop``). Its labels
are derived from the poses by rule, not scored by a person. For each pair of `hop` and `step` the
tokens are extracted anew (frames of the recording a second, and processor seconds a frame), and a
linear probe that looks half a second either way is tested on ten blocks in five folds. Scores are
of recording frames, so that those of different steps can be compared. Intervals (80 %) resample the
ten blocks. ``--quick`` takes two pairs and one fold.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import subject_crops
from flies import NAME, cross_validate, finish
from subject_crops import MALE, OF_SUBJECT, interval, scores

from ethoprism import workflow
from ethoprism.probe.batches import LabelledTokens
from ethoprism.subjects import Unit

HALF_SECOND = 12  # frames of this clip
NAMES = [name for name, of in OF_SUBJECT.items() if of == MALE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recordings", type=Path, help="folder with the clip, labels and tracks")
    parser.add_argument("--quick", action="store_true", help="two pairs, one fold")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--hop", type=int, action="append", help="only this; may be repeated")
    parser.add_argument("--step", type=int, action="append", help="only this; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crop", default="subject 4 lengths")
    options = parser.parse_args()
    hops, steps = options.hop or [1, 2, 4, 8], options.step or [1, 2, 4]
    pairs = [(hop, step) for step in steps for hop in hops]
    if options.quick:
        pairs = [(4, 4), (8, 4)]
    folds = range(1 if options.quick else 5)
    rows, result = [], {}
    with tempfile.TemporaryDirectory() as folder:
        base = subject_crops.project_of(options.recordings, Path(folder) / "p", 1)
        backbone = workflow.load_backbone(base.settings)
        truth = workflow.label_states(base, [NAME], NAMES)[NAME]
        for hop, step in pairs:
            settings = replace(base.settings, crop=options.crop, hop=hop, step=step)
            base = project = base.with_settings(settings)
            key, unit = workflow.project_key(project, backbone), Unit(NAME, MALE)
            began, busy = time.perf_counter(), time.process_time()
            finish(workflow.extract_unit(project, backbone, key, unit))
            wall, busy = time.perf_counter() - began, time.process_time() - busy
            store = workflow.open_tokens(project, key, unit)
            item = LabelledTokens(NAME, store, truth[::step], MALE)
            states, probability, _ = cross_validate(
                project,
                item,
                folds,
                options.seed,
                NAMES,
                head="linear",
                context=max(HALF_SECOND // step, 1),
            )
            for i, name in enumerate(NAMES):
                found = scores(truth[:, i], states[:, i], probability[:, i])
                low, high = interval(truth[:, i], states[:, i], probability[:, i], "auc")
                row = {"hop": hop, "step": step, "behaviour": name, **found}
                row |= {"auc_low": low, "auc_high": high, "frames_per_s": len(truth) / wall}
                rows.append(row | {"cpu_ms_per_frame": 1e3 * busy / len(truth)})
                result[f"auc_{name}_hop{hop}_step{step}"] = round(found["auc"], 3)
                result[f"f1_{name}_hop{hop}_step{step}"] = round(found["f1"], 3)
            result[f"frames_per_s_hop{hop}_step{step}"] = round(len(truth) / wall, 1)
            result[f"cpu_ms_hop{hop}_step{step}"] = round(1e3 * busy / len(truth), 2)
            print(pd.DataFrame(rows[-len(NAMES) :]).round(3).to_string(index=False), flush=True)
    result |= {"backbone": backbone.card.label, "crop": options.crop}
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
