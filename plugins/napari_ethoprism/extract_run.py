"""What the extraction panel has worked out, in words; no Qt."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from ethoprism import workflow
from ethoprism.batch import Extracted, extract_batch
from ethoprism.estimate import Estimate, estimate_extraction
from ethoprism.progress import Progress
from ethoprism.project import Project, Settings
from napari_ethoprism.jobs_panel import duration


@dataclass(frozen=True, eq=False)
class Plan:
    """A loaded backbone, and what an extraction with it would take.

    ``estimate`` is None where the backbone's weights are not on this computer yet, so that
    nothing is downloaded without being asked for.
    """

    backbone: Any
    estimate: Estimate | None
    engine: str = "jax"


def weights_missing(settings: Settings) -> bool:
    """Whether the backbone's released weights would have to be downloaded."""
    from ethoprism.backbones.releases import RELEASES, is_here

    known = settings.backbone in RELEASES and not settings.weights
    return known and not is_here(settings.backbone)


def make_plan(
    project: Project, recordings: Sequence[str], backbone: Any = None, *, download: bool = False
) -> Generator[Progress, None, Plan]:
    """Load the backbone and measure this computer; run it in a worker."""
    yield Progress(0, 1, "loading the backbone")
    if backbone is None:
        if weights_missing(project.settings):
            if not download:
                return Plan(None, None)
            yield from workflow.fetch_weights(project.settings)
        yield Progress(0, 1, "choosing what computes it")
        backbone = workflow.choose_engine(workflow.load_backbone(project.settings)).backbone
    from ethoprism.extract import maker

    estimate = yield from estimate_extraction(project, backbone, recordings)
    return Plan(backbone, estimate, maker(backbone)["engine"])


def run_plan(
    project: Project, plan: Plan, recordings: Sequence[str]
) -> Generator[Progress, None, Extracted]:
    """Extract the recordings of a plan."""
    return (yield from extract_batch(project, plan.backbone, recordings))


def facts(project: Project, plan: Plan) -> list[tuple[str, str, bool]]:
    """What the user should know before it starts: ``(name, text, whether it is a warning)``."""
    estimate = plan.estimate
    if estimate is None:
        text = f"{project.settings.backbone}: its weights are not on this computer yet"
        return [("Backbone", text, True)]
    key = estimate.key
    text = key.label
    if not key.trained:
        text += ": its weights are random; results say little of what a trained one gives"
    every = "every frame" if key.step == 1 else f"every {ordinal(key.step)} frame"
    left = [unit for unit in estimate.units if unit.rows_left]
    crop = "whole frames" if key.crop == "whole" else f"cut to: {key.crop}"
    free = f"{size(estimate.bytes_left)} of {size(estimate.free_bytes)} free"
    if not estimate.fits:
        free += ": it does not fit. Free some space, or store fewer tokens (pooling 1, larger step)"
    lines = [
        ("Computes on", f"{device(estimate.device)}, {plan.engine}, {key.precision}", False),
        ("Backbone", text, not key.trained),
        (
            "Settings",
            f"{every}, windows of {key.length} every {key.hop}, "
            f"{key.pooling}×{key.pooling} tokens a frame, {crop}",
            False,
        ),
        ("To do", to_do(estimate), False),
    ]
    if left:
        lines += [
            ("Time", f"about {duration(estimate.seconds)}", False),
            ("Disk", free, not estimate.fits),
        ]
    lines += [("Left out", f"{name}: {error}", True) for name, error in estimate.skipped]
    return lines


def to_do(estimate: Estimate) -> str:
    """How many units are left, and how many frames."""
    left = [unit for unit in estimate.units if unit.rows_left]
    if not left:
        return "nothing: all tokens are there"
    part = sum(unit.rows for unit in estimate.units) - estimate.rows_left
    kept = f", {part:,} are there already" if part else ""
    named = left[0].unit.name if len(left) == 1 else f"{len(left)} of {len(estimate.units)}"
    return f"{named}: {estimate.rows_left:,} frames to encode{kept}"


def device(name: str) -> str:
    """``processor (CPU)``, or ``GPU`` and its model."""
    platform, _, model = name.partition(" ")
    return "processor (CPU)" if platform == "cpu" else f"{platform.upper()} {model}".strip()


def size(n_bytes: float) -> str:
    """Bytes as people say them."""
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:,.1f} GB"


def ordinal(n: int) -> str:
    """``2nd``, ``3rd``, ``11th``."""
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return str(n) + {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def outcome(result: Extracted) -> str:
    """What came of an extraction, in a sentence or two."""
    n = len(result.complete)
    text = f"The tokens of {result.complete[0]} are complete." if n == 1 else ""
    if n != 1:
        text = f"The tokens of {n} recordings are complete."
    for name, error in result.failed:
        text += f" {name} failed: {error}"
    return text
