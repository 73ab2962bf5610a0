"""Zero-shot: every frame scored against descriptions of behaviours, without any label.

The scores are cosines between the embedding of a window (or frame) and that of a description. They
are no probabilities, and one behaviour's cannot be compared with another's: some sentences lie
nearer to all videos than others. A probe that was trained on a few labels is another thing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Behaviour
from ethoprism.files import replacing, write_json
from ethoprism.metrics.frames import average_precision
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.search.find import Level, embedding_scores, open_stores
from ethoprism.search.prompts import TEMPLATES, TextEmbedder, check_templates, ensemble, filled
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenKey, TokenStore
from ethoprism.workflow import unit_states


@dataclass(frozen=True)
class ZeroShotPlan:
    """What is scored, and how.

    Attributes
    ----------
    behaviours
        Names of the ethogram; all by default.
    templates
        Each description is put into each of these.
    level
        ``window``: a frame takes the score of the window in which it lies most centrally.
        ``frame``: that of its own embedding. Between sampled frames, that of the nearest one.
    temperature
        Where it is given, shares of the behaviours are written too: the softmax of the cosines
        divided by it. The released models come with no temperature, so none is right.
    recordings, subject
        As for a search.
    """

    behaviours: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES
    level: Level = "window"
    temperature: float | None = None
    recordings: tuple[str, ...] = ()
    subject: str = ""

    def __post_init__(self) -> None:
        check_templates(self.templates)
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise InputError(
                "Shares cannot be made of the scores",
                expected="a temperature above 0",
                found=str(self.temperature),
            )


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Scores of a project's frames.

    Attributes
    ----------
    plan, key
        What was scored, and from which tokens.
    prompts
        The prompts of each behaviour, in the order of the columns.
    scores
        float32 ``[frames, behaviours]`` of each unit; NaN where nothing was encoded.
    """

    plan: ZeroShotPlan
    key: TokenKey
    prompts: dict[str, tuple[str, ...]]
    scores: dict[Unit, Float32[np.ndarray, "frames behaviours"]] = field(repr=False)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Names, in the order of the columns."""
        return tuple(self.prompts)


def description(behaviour: Behaviour) -> str:
    """What a behaviour is called in a prompt: its definition, or else its name."""
    return behaviour.definition.strip() or behaviour.name.replace("_", " ")


def zero_shot(
    project: Project,
    backbone: TextEmbedder,
    plan: ZeroShotPlan,
    tokenizer: Tokenizer | None = None,
) -> Generator[Progress, None, ZeroShot]:
    """Score every frame against the ethogram's descriptions.

    Raises
    ------
    ProjectError
        If the ethogram is empty, or tokens are absent, incomplete or without embeddings.
    """
    prompts = behaviour_prompts(project, plan)
    key, stores = open_stores(project, backbone, plan.recordings, plan.subject)
    directions = np.stack([ensemble(backbone, p, tokenizer) for p in prompts.values()], axis=1)
    scores: dict[Unit, np.ndarray] = {}
    total, done = sum(store.n_rows for _, store in stores), 0
    for unit, store in stores:
        yield Progress(done, total, unit.name)
        n_frames = project.entry(unit.recording).n_frames
        scores[unit] = _of_frames(store, directions, plan.level, n_frames)
        done += store.n_rows
    yield Progress(total, total)
    return ZeroShot(plan, key, prompts, scores)


def behaviour_prompts(project: Project, plan: ZeroShotPlan) -> dict[str, tuple[str, ...]]:
    """The prompts of each behaviour that is to be scored."""
    ethogram = project.ethogram
    unknown = [name for name in plan.behaviours if name not in ethogram]
    if unknown or not ethogram.behaviours:
        raise ProjectError(
            "The ethogram lacks the behaviours to score",
            expected=", ".join(ethogram.names) or "behaviours with definitions",
            found=", ".join(unknown) or "none",
            remedy="Add behaviours, with a definition each, to the ethogram.",
        )
    names = plan.behaviours or ethogram.names
    return {name: filled([description(ethogram[name])], plan.templates) for name in names}


def summary(project: Project, found: ZeroShot) -> pd.DataFrame:
    """One row a behaviour: how well its scores rank the frames that people labelled.

    Columns: behaviour, labelled_frames, prevalence, average_precision, mean_score. No label was
    used for the scores, so all labelled frames count. Average precision without any skill is the
    prevalence; both are NaN where nothing was labelled.
    """
    truths, values = _labelled(project, found)
    rows = []
    for b, name in enumerate(found.behaviours):
        truth, score = truths[b], values[b]
        everything = np.concatenate([scores[:, b] for scores in found.scores.values()])
        known = everything[np.isfinite(everything)].astype(np.float64)
        rows.append(
            {
                "behaviour": name,
                "labelled_frames": len(truth),
                "prevalence": float(truth.mean()) if len(truth) else np.nan,
                "average_precision": average_precision(truth, score) if len(truth) else np.nan,
                "mean_score": float(known.mean()) if len(known) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def write_frames(project: Project, found: ZeroShot, path: Path) -> None:
    """Write the scores, one row a frame, and a card of where they come from beside them.

    Columns: recording, subject, frame, time_s, ``cosine_<behaviour>`` for each behaviour, and with
    a temperature ``share_<behaviour>``. Cells are empty where nothing was encoded.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for i, (unit, scores) in enumerate(found.scores.items()):
            table = pd.DataFrame({"frame": np.arange(len(scores))})
            table.insert(0, "recording", unit.recording)
            table.insert(1, "subject", unit.subject)
            table["time_s"] = project.frame_times(unit.recording)
            columns = [table, _columns("cosine", found.behaviours, scores)]
            if found.plan.temperature is not None:
                shares = softmax(scores, found.plan.temperature)
                columns.append(_columns("share", found.behaviours, shares))
            joined = pd.concat(columns, axis=1)
            joined.to_csv(
                file, index=False, header=i == 0, float_format="%.6f", lineterminator="\n"
            )
    write_json(
        path.with_name(path.name + ".card.json"),
        {
            "kind": "zero-shot scores, no probe",
            "backbone": found.key.label,
            "token_key": found.key.to_dict(),
            "level": found.plan.level,
            "temperature": found.plan.temperature,
            "prompts": {name: list(prompts) for name, prompts in found.prompts.items()},
            "note": "Cosines between video and text; no probabilities, no observations. "
            + ("" if found.key.trained else "The backbone's weights are random (untrained)."),
        },
    )


def softmax(
    scores: Float32[np.ndarray, "frames behaviours"], temperature: float
) -> Float32[np.ndarray, "frames behaviours"]:
    """Shares that sum to 1 in each row, from scores divided by a temperature."""
    scaled = scores.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _of_frames(
    store: TokenStore, directions: np.ndarray, level: Level, n_frames: int
) -> Float32[np.ndarray, "frames behaviours"]:
    scores = embedding_scores(store, directions, level)
    rows = store.grid.sampled_of(np.arange(n_frames))
    if level == "window":
        window = np.empty(store.n_rows, np.int64)
        for w in range(store.grid.n_windows):
            window[slice(*store.grid.kept(w))] = w
        scores = scores[window]
        scores[~store.valid()] = np.nan
    return scores[rows]


def _labelled(project: Project, found: ZeroShot) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each behaviour: whether it was present, and its score, in all frames that have both."""
    truths: list[list[np.ndarray]] = [[] for _ in found.behaviours]
    values: list[list[np.ndarray]] = [[] for _ in found.behaviours]
    for unit, scores in found.scores.items():
        states = unit_states(project, unit, found.behaviours, found.plan.subject)
        for b in range(len(found.behaviours)):
            known = (states[:, b] != UNOBSERVED) & np.isfinite(scores[:, b])
            truths[b].append(states[known, b] == PRESENT)
            values[b].append(scores[known, b].astype(np.float64))
    return [np.concatenate(x) for x in truths], [np.concatenate(x) for x in values]


def _columns(kind: str, names: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"{kind}_{name}" for name in names])
