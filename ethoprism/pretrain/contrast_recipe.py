"""A whole training of stage 1: captioned clips, a vocabulary, `prism-nano-lvt`."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.backbones import nano
from ethoprism.backbones.nano_text import model_layout, nano_text_config, write_above
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.weights import fingerprint, read_parameters
from ethoprism.errors import InputError
from ethoprism.files import write_json
from ethoprism.pretrain.clips import ClipStore, write_stores
from ethoprism.pretrain.contrast import learn_vocabulary
from ethoprism.pretrain.contrast_data import Captioned
from ethoprism.pretrain.contrast_train import Contrast, train_contrastive
from ethoprism.pretrain.contrast_wording import sayings
from ethoprism.pretrain.cutting import dataset_clips
from ethoprism.pretrain.plot import plot_metrics
from ethoprism.pretrain.recipe import student_parameters
from ethoprism.progress import Progress
from ethoprism.safety import read_json

MODEL = "model.safetensors"
_PER_STORE = 300


@dataclass(frozen=True)
class TextRecipe:
    """What a training of stage 1 is made of.

    Attributes
    ----------
    plan
        Steps, rates and seed.
    clips
        That are made, where none are given.
    pieces
        Of the vocabulary at most.
    held_out
        Share of the clips of each data set that is only tested on.
    layers, auxiliary
        See `nano_text.nano_text_config`.
    """

    plan: Contrast = field(default_factory=lambda: Contrast(1200))
    clips: int = 6000
    pieces: int = 400
    held_out: float = 0.05
    layers: int = 2
    auxiliary: int = 1

    def shortened(self, factor: float) -> TextRecipe:
        """The same with fewer steps and clips, for a trial of minutes."""
        if not 0 < factor <= 1:
            raise InputError("A recipe is shortened", expected="0 to 1", found=str(factor))
        plan, clips = self.plan, max(80, round(self.clips * factor))
        steps = max(4, round(plan.steps * factor))
        short = replace(
            plan,
            steps=steps,
            warmup=max(1, min(steps - 1, round(plan.warmup * factor))),
            batch=min(plan.batch, clips // 2),
        )
        return replace(self, plan=short, clips=clips)


def train_text(
    recipe: TextRecipe,
    folder: Path,
    *,
    dataset: str = "arena",
    clips: Sequence[Path] = (),
    weights: str | None = None,
) -> Generator[Progress, None, Path]:
    """A video–text model whose encoder is that of `prism-nano`; returns its file.

    The file holds the whole model in float16; the SentencePiece model is beside it, ``.model``.
    Work that was interrupted goes on where it stopped, in the same folder.

    Parameters
    ----------
    folder
        Clips, tokens, checkpoint, ``metrics.csv`` and ``held_out.csv`` are kept here.
    dataset
        A registered data set whose captioned clips are learnt from.
    clips
        Folders of captioned clips that are there already, in place of the data set; each folder
        is a store, or holds the stores of one data set.
    weights
        Of the video encoder: a path; by default the packaged ones; ``untrained`` for a trial.
    """
    encoder = encoder_parameters(weights)
    about = {"clips": [_content(c) for c in clips] or dataset, "encoder": fingerprint(encoder)}
    _claim(folder, about | {"recipe": asdict(recipe)})
    if clips:
        groups = [_opened(path) for path in clips]
    else:
        made = yield from write_stores(
            folder / "clips",
            lambda seed: dataset_clips(dataset, seed=seed),
            recipe.clips,
            seed=recipe.plan.seed,
            per_store=min(recipe.clips, _PER_STORE),
        )
        groups = [made]
    data = []
    for stores in groups:
        held_out = round(recipe.held_out * sum(map(len, stores)))
        data.append(Captioned(stores, held_out))
    vocabulary = (folder / MODEL).with_suffix(".model")
    if not vocabulary.is_file():
        captions = [caption for one in data for caption in one.captions]
        learn_vocabulary(sayings(captions), vocabulary, recipe.pieces)
    tokenizer = Tokenizer(vocabulary)
    config = nano_text_config(
        tokenizer.vocabulary, layers=recipe.layers, auxiliary=recipe.auxiliary
    )
    yield from train_contrastive(
        config,
        data,
        tokenizer,
        recipe.plan,
        folder,
        encoder=encoder,
        made_by=_history(recipe, data, encoder),
    )
    plot_metrics(folder / "metrics.csv", folder / "metrics.png")
    return folder / MODEL


def encoder_parameters(weights: str | None) -> dict[str, np.ndarray]:
    """The video encoder's parameters: of a file, the packaged ones, or ``untrained`` ones."""
    if weights == nano.UNTRAINED:
        return student_parameters(nano.NAME)
    if weights is None and not nano.PACKAGED.is_file():
        raise InputError(
            f"The weights of {nano.NAME} are not packaged",
            expected="a trained video encoder",
            remedy="Pass one as --weights PATH, or train one with: ethoprism pretrain recipe",
        )
    return student_parameters(nano.NAME, Path(weights) if weights else nano.PACKAGED)


def without_encoder(model: Path, out: Path, encoder: Path, *, made_by: str = "") -> None:
    """Writes what lies above the video encoder of a model, for use with the encoder in a file."""
    parameters = dict(read_parameters(model, model_layout(model)))
    write_above(out, parameters, encoder, made_by=made_by)


def _opened(path: Path) -> list[ClipStore]:
    if (path / "clips.json").is_file():
        return [ClipStore.open(path)]
    folders = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    if not folders:
        raise InputError(f"{path} holds no clips", expected="a store of clips, or several")
    return [ClipStore.open(folder) for folder in folders]


def _content(path: Path) -> list[Any]:
    """What a folder of clips is made of, as far as it says; not where it lies."""
    return [[len(store), store.made_of] for store in _opened(path)]


def _history(
    recipe: TextRecipe, data: Sequence[Captioned], encoder: Mapping[str, np.ndarray]
) -> str:
    counts: dict[str, int] = {}
    for one in data:
        for number in one.learnt:
            source = one.sources[number]
            counts[source] = counts.get(source, 0) + 1
    learnt = ", ".join(f"{n} of {source}" for source, n in sorted(counts.items())[:8])
    plan = recipe.plan
    held = "kept as it was" if plan.frozen else "trained as well"
    return (
        f"trained by EthoPrism {version('ethoprism')} on captioned clips ({learnt}), {plan.steps} "
        f"steps of {plan.batch}, seed {plan.seed}; video encoder "
        f"{fingerprint(encoder)[:12]}, {held}"
    )


def _claim(folder: Path, about: Mapping[str, Any]) -> None:
    """Have a folder say what is trained in it; see `recipe.claim`."""
    said = json.loads(json.dumps(about))
    file = folder / "training.json"
    found = read_json(file) if file.is_file() else None
    if found is None and folder.is_dir() and any(folder.iterdir()):
        other = "files, and none that says of what training"
    elif found is None or found == said:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, said)
        return
    else:
        differing = ", ".join(k for k in said if found.get(k) != said[k])
        other = f"another: {differing} differ"
    raise InputError(
        f"The folder {folder} is not of this training",
        expected="an empty folder, or one in which the same training was begun",
        found=other,
        remedy="Choose another with --folder. Nothing was changed.",
    )
