"""How many labels each way of choosing what to label next needs.

    python benchmarks/label_efficiency.py [--flies RECORDINGS_FOLDER] [--quick] [--json]

A simulated annotator labels short spans of recordings whose truth is known, a few a round. After
each round a probe (linear head, `prism-nano`, untrained) is trained on what is labelled so far, and
scored on a recording that is never labelled (with ``--flies``: on blocks of the clip). The spans
are chosen as `ethoprism suggest` would, or at random, or from the start of the first recording on.

A quarter of the labelled spans set thresholds and stop the training (with ``--members`` each of
them does for one network). A behaviour that the labelled
spans do not show counts with an F1 of 0, and with the average precision of chance.

The arena's tokens are of crops that follow each mouse, so every label is of one animal. ``--keep``
keeps them. ``--light`` learns with scikit-learn's logistic regression on means of the tokens around
a row in place of the library's head, in a tenth of the time. ``--quick`` makes little data and runs
one seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flies import finish
from rare import made_rare
from scipy.ndimage import uniform_filter1d
from sklearn.linear_model import LogisticRegression

from ethoprism import importing, registry, subjects, workflow
from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment, frame_scores, split_blocks
from ethoprism.prediction import Decision
from ethoprism.probe import batches
from ethoprism.probe import predict as probe_predict
from ethoprism.probe.batches import LabelledTokens, split_gap
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import ProbeShape
from ethoprism.probe.predict import disagreement, predict
from ethoprism.probe.train import train_and_test
from ethoprism.project import Project, Settings
from ethoprism.recording import Recording
from ethoprism.subjects import Unit
from ethoprism.suggest.choose import Evidence, choose
from ethoprism.suggest.evidence import similarity_to_examples, window_evidence
from ethoprism.suggest.unfound import Checked, estimate_unfound
from ethoprism.suggest.windows import cut_windows, flatten, row_vectors, window_means
from ethoprism.tokens import TokenStore
from ethoprism.tracks import read_tracks, renamed

STRATEGIES = ("suggested", "random", "chronological")
CROP = "subject 2 lengths"
FLIES = "courting_flies_120s"


@dataclass(frozen=True, eq=False)
class Source:
    """A unit, its tokens, and the truth of its rows; those of ``pool`` may be labelled."""

    unit: Unit
    recording: Recording
    store: TokenStore
    truth: np.ndarray
    rows: np.ndarray
    pool: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learnt, from what, in rounds of how many spans."""

    sources: list[Source]
    names: tuple[str, ...]
    length: int
    row_s: float
    rounds: int
    per_round: int
    first: int
    light: bool = False
    head: str = "linear"
    members: int = 1
    scored: tuple[str, ...] = ()


def remember_descriptors() -> None:
    """Have what a head sees of a store's rows computed once, not for each training."""
    found: dict[tuple[Path, ProbeShape], tuple[np.ndarray, np.ndarray]] = {}
    read = batches.read_inputs

    def remembered(store: TokenStore, start: int, length: int, shape: ProbeShape):
        if shape.on_tokens:
            return read(store, start, length, shape)
        kind = (store.path, replace(shape, behaviours=1, context=0, members=1, head="linear"))
        if kind not in found:
            found[kind] = read(store, 0, store.n_rows, shape)
        rows = np.arange(start, start + length)
        inside = (rows >= 0) & (rows < store.n_rows)
        inputs = np.zeros((length, shape.inputs), np.float32)
        valid = np.zeros(length, bool)
        inputs[inside], valid[inside] = (part[rows[inside]] for part in found[kind])
        return inputs, valid

    batches.read_inputs = remembered
    probe_predict.read_inputs = remembered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--flies", type=Path, help="folder with the clip of courting flies")
    parser.add_argument("--keep", type=Path, help="folder for recordings and tokens of the arena")
    parser.add_argument("--quick", action="store_true", help="little data, one seed")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--light", action="store_true", help="a logistic regression as the probe")
    parser.add_argument("--head", default="linear", help="the head of the probe")
    parser.add_argument(
        "--rare", help="arena: make one behaviour rare, as rare.py does, and score that one"
    )
    parser.add_argument("--members", type=int, default=1, help="networks of the probe")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--data-seed", type=int, default=100, help="of the arena's recordings")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each of them")
    parser.add_argument("--only", choices=STRATEGIES, action="append", help="strategies to run")
    parser.add_argument(
        "--results", type=Path, help="file of what is finished; a second run goes on from there"
    )
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    remember_descriptors()
    first = options.first_seed
    seeds = range(first, first + (1 if options.quick else options.seeds))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # The same shapes come again with every seed and strategy.
        jax.config.update("jax_compilation_cache_dir", str(Path(temporary) / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        make = flies(options, folder) if options.flies else arena(options, folder)
        runs = Finished(options.results)
        began = time.perf_counter()
        for seed in seeds:
            task = replace(
                make(seed), light=options.light, head=options.head, members=options.members
            )
            for name in options.only or STRATEGIES:
                if not runs.has(seed, name):
                    runs.add(seed, name, *labelled(task, name, seed))
                shown = "  ".join(f"{s:.0f} s {f:.2f}" for s, f, _ in runs.curve(seed, name))
                print(f"seed {seed}, {name}: {shown}", flush=True)
        if not options.only:
            report(runs, list(seeds), time.perf_counter() - began, options)


class Finished:
    """Curves and estimates by seed and strategy; written after each, where there is a file."""

    def __init__(self, path: Path | None):
        self.path = path
        self.runs: dict[str, Any] = {}
        if path is not None and path.exists():
            self.runs = json.loads(path.read_text("utf-8"))

    def has(self, seed: int, strategy: str) -> bool:
        return f"{seed} {strategy}" in self.runs

    def add(self, seed: int, strategy: str, curve, estimates) -> None:
        found = {"curve": curve, "unfound": [[float(v) for v in e] for e in estimates]}
        self.runs[f"{seed} {strategy}"] = found
        if self.path is not None:
            self.path.write_text(json.dumps(self.runs), "utf-8")

    def curve(self, seed: int, strategy: str):
        return self.runs[f"{seed} {strategy}"]["curve"]

    def estimates(self, seeds: Sequence[int], strategy: str) -> list[list[float]]:
        return [e for seed in seeds for e in self.runs[f"{seed} {strategy}"]["unfound"]]


def report(runs: Finished, seeds: list[int], seconds: float, options: argparse.Namespace) -> None:
    """Mean curves, and the seconds of labels that each strategy needs for a given F1."""
    curves = {name: [runs.curve(seed, name) for seed in seeds] for name in STRATEGIES}
    mean = {name: np.mean(curves[name], axis=0) for name in STRATEGIES}
    deviation = {name: np.std(curves[name], axis=0) for name in STRATEGIES}
    print("\nseconds labelled, mean F1 of the behaviours (standard deviation over seeds)")
    for i, row in enumerate(mean["random"]):
        shown = "  ".join(
            f"{name} {mean[name][i, 1]:.3f} ({deviation[name][i, 1]:.3f})" for name in STRATEGIES
        )
        print(f"{row[0]:6.0f} s  {shown}")
    result: dict[str, object] = {
        "backbone": "prism-nano (untrained)",
        "seeds": len(curves["random"]),
    }
    result["curves"] = {
        name: [[round(float(v), 3) for v in row] for row in mean[name]] for name in STRATEGIES
    }
    last = float(mean["random"][-1, 1])
    for share in (0.8, 0.9, 1.0):
        goal = share * last
        needed = {name: seconds_to(mean[name], goal) for name in STRATEGIES}
        print(f"F1 {goal:.2f}: " + ", ".join(f"{n} {needed[n]}" for n in STRATEGIES))
        result[f"seconds_to_{round(100 * share)}_of_random"] = {"f1": round(goal, 3), **needed}
    area = {name: round(float(mean[name][:, 1].mean()), 3) for name in STRATEGIES}
    result["mean_f1_over_rounds"] = area
    print("mean over the rounds: " + ", ".join(f"{n} {area[n]}" for n in STRATEGIES))
    for strategy in STRATEGIES:
        estimates = runs.estimates(seeds, strategy)
        if estimates:
            inside = float(np.mean([low <= true <= high for _, true, _, low, high in estimates]))
            off = float(np.median([abs(e - t) / max(t, 1) for _, t, e, _, _ in estimates]))
            ratio = float(np.median([e / max(t, 1) for _, t, e, _, _ in estimates]))
            result[f"unfound_{strategy}"] = {
                "estimates": len(estimates),
                "inside_interval": round(inside, 2),
                "median_relative_error": round(off, 2),
                "median_ratio": round(ratio, 2),
            }
            print(
                f"unfound bouts, {strategy}: {len(estimates)} estimates, {inside:.0%} of the "
                f"truths inside the 95 % interval, median relative error {off:.0%}, estimate over "
                f"truth {ratio:.2f}"
            )
    print(f"{seconds:.0f} s")
    if options.json:
        print(json.dumps(result))


def seconds_to(curve: np.ndarray, goal: float) -> float | None:
    """Seconds of labels at which a mean curve first reaches the goal, interpolated."""
    above = np.flatnonzero(curve[:, 1] >= goal)
    if not len(above):
        return None
    i = int(above[0])
    if not i:
        return round(float(curve[0, 0]), 1)
    (a_s, a), (b_s, b) = curve[i - 1, :2], curve[i, :2]
    return round(float(a_s + (goal - a) / (b - a) * (b_s - a_s)), 1)


def labelled(task: Task, strategy: str, seed: int):
    """Seconds labelled, mean F1 and mean average precision after each round; and the estimates."""
    rng = np.random.default_rng(seed)
    owner, windows = all_windows(task)
    means = [window_means(s.rows, windows[owner == i], 1) for i, s in enumerate(task.sources)]
    vectors = flatten(np.concatenate(means))
    by_chance = rng.permutation(len(windows))
    in_order = np.concatenate(
        [np.flatnonzero(owner == i) for i in rng.permutation(len(task.sources))]
    )
    chosen: list[int] = []
    curve, estimates = [], []
    probe: Probe | LightProbe | None = None
    for number in range(task.rounds):
        n = task.per_round if number else task.first
        if strategy == "suggested":
            chosen += suggested(task, owner, windows, vectors, chosen, probe, n, seed)
        else:
            queue = by_chance if strategy == "random" else in_order
            chosen += [int(i) for i in queue if int(i) not in set(chosen)][:n]
        if task.light:
            probe = fit_light(task, owner, windows, chosen)
        else:
            probe = fit(task, owner, windows, chosen, seed)
        f1, ap = scores(task, probe)
        spent = sum(int(np.diff(windows[i])[0]) for i in chosen) * task.row_s
        curve.append((float(spent), f1, ap))
        # A light probe learns from all labels, so none are left to check its probabilities on.
        if isinstance(probe, Probe):
            found = unfound(task, owner, windows, chosen, probe)
            estimates += [(number, *estimate) for estimate in found]
    return curve, estimates


def all_windows(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Windows of rows that may be labelled, and whose they are."""
    each = [cut_windows(s.pool, task.length) for s in task.sources]
    owner = np.repeat(np.arange(len(each)), [len(w) for w in each])
    return owner, np.concatenate(each)


def suggested(task, owner, windows, vectors, chosen, probe, n: int, seed: int) -> list[int]:
    """What `ethoprism.suggest` says, with the windows' rows as its frames."""
    left = np.setdiff1d(np.arange(len(windows)), chosen)
    names = () if probe is None else probe.behaviours
    shape = (len(left), len(names))
    unsure, likely = np.zeros(shape), np.zeros(shape)
    similarity, counts = np.zeros(shape), np.zeros(len(names), np.int64)
    split = np.zeros(shape)
    if probe is not None:
        p = [pool_probability(task, s, probe) for s in task.sources]
        apart = [pool_disagreement(s, probe) for s in task.sources]
        columns = [task.names.index(name) for name in names]
        for row, i in enumerate(left):
            part = p[owner[i]][slice(*windows[i])]
            unsure[row], likely[row] = window_evidence(part, probe.decision.thresholds, names)
            differing = apart[owner[i]]
            if differing is not None:
                split[row] = differing[slice(*windows[i])].mean(axis=0)
        present = np.array(
            [
                (task.sources[owner[i]].truth[slice(*windows[i])][:, columns] == PRESENT).any(
                    axis=0
                )
                for i in chosen
            ]
        )
        counts = present.sum(axis=0)
        similarity = similarity_to_examples(vectors[left], vectors[chosen], present, counts)
    evidence = Evidence(vectors[left], vectors[chosen], unsure, likely, split, similarity, counts)
    return [int(left[i]) for i in choose(evidence, n, seed=seed).index]


@dataclass(frozen=True, eq=False)
class LightProbe:
    """One logistic regression for each behaviour, on standardised features of rows."""

    behaviours: tuple[str, ...]
    models: list[LogisticRegression]
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def decision(self) -> Decision:
        return Decision(dict.fromkeys(self.behaviours, 0.5), dict.fromkeys(self.behaviours, 1))

    def probability(self, rows: np.ndarray) -> np.ndarray:
        """``[rows, behaviours]`` of all rows of a unit."""
        x = (surroundings(rows) - self.mean) / self.deviation
        return np.stack([m.predict_proba(x)[:, 1] for m in self.models], axis=1)


def surroundings(rows: np.ndarray) -> np.ndarray:
    """Means of the rows' features over half a second and over two."""
    known = np.nan_to_num(rows)
    return np.concatenate([uniform_filter1d(known, n, axis=0) for n in (7, 25)], axis=1)


def fit_light(task: Task, owner, windows, chosen: Sequence[int]) -> LightProbe | None:
    """A light probe of all that is labelled."""
    features = [surroundings(s.rows) for s in task.sources]
    x = np.concatenate([features[owner[i]][slice(*windows[i])] for i in chosen])
    y = (
        np.concatenate([task.sources[owner[i]].truth[slice(*windows[i])] for i in chosen])
        == PRESENT
    )
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-3
    usable = [k for k in range(y.shape[1]) if y[:, k].any() and not y[:, k].all()]
    if not usable:
        return None
    models = [
        LogisticRegression(C=0.003, class_weight="balanced", max_iter=300).fit(
            (x - mean) / deviation, y[:, k]
        )
        for k in usable
    ]
    return LightProbe(tuple(task.names[k] for k in usable), models, mean, deviation)


def pool_probability(task: Task, source: Source, probe: Probe | LightProbe) -> np.ndarray:
    """``[rows, behaviours]``."""
    if isinstance(probe, LightProbe):
        return probe.probability(source.rows)
    whole = finish(predict(probe, source.recording, source.store, source.unit.subject))
    return whole.probability[:: source.store.key.step]


def pool_disagreement(source: Source, probe: Probe | LightProbe) -> np.ndarray | None:
    """``[rows, behaviours]``; nothing where there is one network."""
    if isinstance(probe, LightProbe) or probe.shape.members == 1:
        return None
    return finish(disagreement(probe, source.recording, source.store))[:: source.store.key.step]


def fit(task: Task, owner, windows, chosen: Sequence[int], seed: int) -> Probe | None:
    """A probe of what is labelled, or None.

    Every fourth span stops the training and sets the thresholds; of an ensemble's networks each is
    stopped on other spans, so that all spans set the thresholds.
    """
    states = [np.full_like(s.truth, UNOBSERVED) for s in task.sources]
    spans = []
    for i in chosen:
        source = task.sources[owner[i]]
        start, stop = (int(v) for v in windows[i])
        states[owner[i]][start:stop] = source.truth[start:stop]
        spans.append((int(owner[i]), Segment(source.unit.name, start, stop, "train")))
    tested = []
    for i, source in enumerate(task.sources):
        states[i][source.test] = source.truth[source.test]
        tested += [
            Segment(source.unit.name, int(a), int(b), "test") for a, b in runs_of(source.test)
        ]
    parts = max(task.members, 4)
    splits = []
    for member in range(task.members):
        own = [
            replace(s, part="validation") if place % parts == parts - 1 - member else s
            for place, (_, s) in enumerate(spans)
        ]
        splits.append(own + tested)
    usable = np.ones(len(task.names), bool)
    for split in splits:
        learnt = np.concatenate(
            [
                states[i][s.start : s.stop]
                for (i, _), s in zip(spans, split, strict=False)
                if s.part == "train"
            ]
        )
        usable &= (learnt == PRESENT).any(axis=0) & (learnt == 0).any(axis=0)
    if not usable.any():
        return None
    names = tuple(n for n, ok in zip(task.names, usable, strict=True) if ok)
    data = [
        LabelledTokens(s.unit.name, s.store, np.ascontiguousarray(states[i][:, usable]))
        for i, s in enumerate(task.sources)
    ]
    with suppress(LabelError):
        probe, _ = finish(
            train_and_test(
                data,
                splits[0],
                Ethogram().with_names(list(names)),
                names,
                name="probe",
                head=task.head,
                members=splits if task.members > 1 else (),
                seed=seed,
                intervals=False,
            )
        )
        return probe
    return None


def runs_of(mask: np.ndarray) -> np.ndarray:
    from ethoprism.annotation import runs

    return runs(mask)


def scores(task: Task, probe: Probe | LightProbe | None) -> tuple[float, float]:
    """Mean F1 and mean average precision on the test part, over all behaviours that occur there."""
    metrics = {} if probe is None else test_metrics(task, probe)
    f1, ap = [], []
    for column, name in enumerate(task.names):
        if task.scored and name not in task.scored:
            continue
        truth = np.concatenate([s.truth[s.test, column] for s in task.sources])
        if not (truth == PRESENT).any():
            continue
        row = metrics.get(name, {})
        f1.append(float(row.get("f1", 0.0)))
        ap.append(float(row.get("average_precision", (truth == PRESENT).mean())))
    return float(np.mean(f1)), float(np.mean(ap))


def test_metrics(task: Task, probe: Probe | LightProbe) -> Mapping[str, Any]:
    """Scores of the test part by behaviour."""
    if not isinstance(probe, LightProbe):
        return probe.metrics["test"]
    columns = [task.names.index(name) for name in probe.behaviours]
    tested = [s for s in task.sources if s.test.any()]
    truth = np.concatenate([s.truth[s.test][:, columns] for s in tested])
    p = np.concatenate([probe.probability(s.rows)[s.test] for s in tested])
    table = frame_scores(truth, (p >= 0.5).astype(np.int8), p, probe.behaviours)
    return {str(name): dict(row) for name, row in table.to_dict("index").items()}


def unfound(task: Task, owner, windows, chosen: Sequence[int], probe: Probe):
    """True and estimated bouts in what was not labelled, with the interval."""
    checked, unlabelled, true = [], [], np.zeros(len(probe.behaviours))
    columns = [task.names.index(name) for name in probe.behaviours]
    held_out = {t.recording: t for t in probe.held_out}
    for i, source in enumerate(task.sources):
        p = pool_probability(task, source, probe)
        open_rows = source.pool.copy()
        for c in chosen:
            if owner[c] == i:
                open_rows[slice(*windows[c])] = False
        known = held_out.get(source.unit.name)
        if known is not None:
            checked.append(Checked(known.states, known.probability))
        unlabelled.append(np.where(open_rows[:, None], p, np.nan))
        present = (source.truth[:, columns] == PRESENT) & open_rows[:, None]
        before = np.vstack(
            [np.zeros((1, len(columns)), bool), source.truth[:-1, columns] == PRESENT]
        )
        true += (present & ~before).sum(axis=0)
    table = estimate_unfound(checked, unlabelled, probe.behaviours, n_resamples=500)
    return [
        (true[k], row["bouts"], row["bouts_low"], row["bouts_high"])
        for k, row in enumerate(table.to_dict("records"))
        if np.isfinite(row["bouts"])
    ]


Maker = Callable[[int], Task]


def arena(options: argparse.Namespace, folder: Path) -> Maker:
    """Tasks on the arena: one recording of the set is tested in turn."""
    n, seconds = (3, 20.0) if options.quick else (5, options.seconds)
    finish(
        registry.load("datasets", "arena").make(
            folder / "recordings", recordings=n, seconds=seconds, seed=options.data_seed
        )
    )
    where = folder / "project"
    if (where / "ethoprism.toml").exists():
        project = Project.open(where)
    else:
        project = Project.create(where, Settings(step=2, crop=CROP), Ethogram())
        for path in sorted((folder / "recordings").glob("*.mp4")):
            project, name, _ = workflow.add_recording(project, path)
            request = importing.import_request(project, recording=name, observed="whole")
            table = path.with_suffix(".bouts.csv")
            preview = importing.preview_import(project, table, "bouts-csv", request)
            project = importing.apply_import(project, preview, description="truth")
            tracks, _ = read_tracks(path.with_suffix(".tracks.csv"), project.entry(name).n_frames)
            subjects.save_tracks(project, name, tracks)
    found = sources_of(project, project.ethogram.names)
    names = list(project.recording_ids)
    row_s = 2 / 25

    def make(seed: int) -> Task:
        held_out = names[seed % len(names)]
        kept = {s.unit.name: np.ones(len(s.truth), bool) for s in found}
        if options.rare:
            column = project.ethogram.names.index(options.rare)
            truth = {s.unit.name: s.truth for s in found}
            rare = made_rare(truth, column, np.random.default_rng(seed))
            kept = {name: (rows != UNOBSERVED).all(axis=1) for name, rows in rare.items()}
        chosen = []
        for s in found:
            tested, mine = s.recording.id == held_out, kept[s.unit.name]
            chosen.append(with_parts(s, mine & (not tested), mine & tested))
        rounds = 2 if options.quick else options.rounds
        scored = (options.rare,) if options.rare else ()
        task = Task(chosen, project.ethogram.names, round(2 / row_s), row_s, rounds, 6, 8)
        return replace(task, scored=scored)

    return make


def flies(options: argparse.Namespace, folder: Path) -> Maker:
    """Tasks on the clip of courting flies, the male's crop; three of ten blocks are tested."""
    step = 4 if options.quick else 1
    project = Project.create(folder / "flies", Settings(step=step, crop=CROP), Ethogram())
    project, _, _ = workflow.add_recording(project, options.flies / f"{FLIES}.mp4")
    request = importing.import_request(project)
    labels = options.flies / f"{FLIES}.labels.csv"
    preview = importing.preview_import(project, labels, "frames-csv", request)
    project = importing.apply_import(project, preview, description="pose-derived labels")
    tracks, _ = read_tracks(options.flies / f"{FLIES}.analysis.h5", project.entry(FLIES).n_frames)
    named = renamed(tracks, {"track_0": "male", "track_1": "female"})
    subjects.save_tracks(project, FLIES, [t for t in named if t.subject == "male"])
    names = tuple(n for n in project.ethogram.names if "female" not in n)
    (source,) = sources_of(project, names, anybody=True)
    row_s = step / 25
    rounds = 2 if options.quick else options.rounds

    def make(seed: int) -> Task:
        gap = split_gap(source.store.key, max(source.store.key.length // 2, 1))
        # The flies meet in the second half only: there lie two of the tested blocks.
        blocks = (seed % 4, *((4, 7), (5, 8), (6, 9), (4, 8), (5, 9))[seed % 5])
        parts = split_blocks(FLIES, source.truth, gap=gap, test_blocks=blocks, seed=seed)
        test, pool = np.zeros(len(source.truth), bool), np.zeros(len(source.truth), bool)
        for part in parts:
            (test if part.part == "test" else pool)[part.start : part.stop] = True
        chosen = with_parts(source, pool, test)
        return Task([chosen], names, round(1 / row_s), row_s, rounds, 4, 8)

    return make


def sources_of(project: Project, names: Sequence[str], *, anybody: bool = False) -> list[Source]:
    """Units with tokens and truth."""
    backbone = workflow.load_backbone(project.settings)
    finish(workflow.extract_tokens(project, backbone))
    key = workflow.project_key(project, backbone)
    found = []
    for unit in subjects.units(project, key.crop):
        store = workflow.open_tokens(project, key, unit)
        if anybody:
            truth = workflow.label_states(project, [unit.recording], names)[unit.recording]
        else:
            truth = workflow.unit_states(project, unit, names)
        rows = finish(row_vectors(store))
        nothing = np.zeros(store.n_rows, bool)
        states = np.ascontiguousarray(truth[:: key.step])
        recording = project.recording(unit.recording)
        found.append(Source(unit, recording, store, states, rows, nothing, nothing))
    return found


def with_parts(source: Source, pool: np.ndarray, test: np.ndarray | None = None) -> Source:
    s = source
    test = ~pool if test is None else test
    return Source(s.unit, s.recording, s.store, s.truth, s.rows, pool, test)


if __name__ == "__main__":
    main()
