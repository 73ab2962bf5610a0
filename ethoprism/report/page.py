"""The page: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ethoprism.files import replacing
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.report import evidence, mistakes, order, sections
from ethoprism.report.gather import Findings, gather
from ethoprism.report.markup import Html, h
from ethoprism.report.style import CSS

if TYPE_CHECKING:  # imports jax
    from ethoprism.probe.checkpoint import Probe

# Nothing is loaded: no script, no frame, no font, no picture but those in the page itself.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
CONTENTS = (
    ("summary", "In short"),
    ("labels", "Labels"),
    ("rasters", "Over time"),
    ("budgets", "Time budgets"),
    ("scores", "Scores"),
    ("mistakes", "Errors"),
    ("probabilities", "Probabilities"),
    ("bouts", "Bout lengths"),
    ("order", "Order"),
    ("confusion", "Mixed up"),
    ("people", "People"),
    ("learning", "Learning"),
    ("made", "How it was made"),
)
_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="generator" content="EthoPrism">
<title>$title</title>
<style>$css</style>
</head>
<body>
<a class="skip" href="#summary">To the summary</a>
<div class="page">
$body
</div>
</body>
</html>
"""
)


def write_report(
    project: Project,
    path: Path,
    probe: Probe | None = None,
    *,
    recordings: Sequence[str] = (),
    n_resamples: int = 1000,
    seed: int = 0,
    made: datetime | None = None,
) -> Generator[Progress, None, Path]:
    """Write the report on a project; the generator's result is the file.

    Parameters
    ----------
    project
        With labels.
    path
        File to write, replaced whole.
    probe
        Whose predictions are shown and scored; recordings without one of it are predicted. Without
        a probe the report is on labels alone.
    recordings
        Ids; all by default.
    n_resamples, seed
        Of the intervals.
    made
        Stands in the report; now by default.

    Raises
    ------
    LabelError
        If the ethogram is empty.
    ProjectError
        If there are no recordings.
    """
    when = made or datetime.now(UTC)
    findings = yield from gather(
        project, probe, when, recordings=recordings, n_resamples=n_resamples, seed=seed
    )
    text = yield from page(findings, project)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(f: Findings, project: Project) -> Generator[Progress, None, str]:
    """The whole page as text; the generator's result."""
    pictures = yield from mistakes.mistakes(f, project)
    yield Progress(1, 1, "drawing")
    body: list[Html] = [
        _header(f),
        h(
            "main",
            sections.summary(f),
            sections.labels(f),
            sections.rasters(f),
            sections.time_budgets(f),
            evidence.scores(f),
            pictures,
            evidence.probabilities(f),
            sections.bout_lengths(f),
            order.order(f),
            evidence.mixed_up(f),
            evidence.people(f),
            evidence.learning(f),
            _made(f),
        ),
        _footer(f),
    ]
    return _PAGE.substitute(
        policy=POLICY, title=h("title", _title(f))[7:-8], css=CSS, body="\n".join(body)
    )


def _title(f: Findings) -> str:
    return f"{f.title} · {f.probe.name if f.probe else 'labels'}"


def _header(f: Findings) -> Html:
    what = f"Report on the probe “{f.probe.name}”" if f.probe else "Report on the labels"
    on = f", features of {f.probe.key.label}" if f.probe else ""
    return h(
        "header",
        h("p", "EthoPrism report", class_="kicker"),
        h("h1", f.title),
        h("p", f"{what}{on} · {f.made:%d %B %Y, %H:%M} UTC", class_="lead"),
        sections.facts(f),
        h(
            "nav",
            h("ul", [h("li", h("a", text, href=f"#{name}")) for name, text in CONTENTS]),
            aria_label="Contents",
        ),
    )


def _made(f: Findings) -> Html:
    """Everything that one needs to make the same again."""
    from ethoprism import __version__

    rows: list[tuple[str, object]] = [
        ("project", str(f.folder)),
        ("report made", f"{f.made:%Y-%m-%d %H:%M} UTC, EthoPrism {__version__}"),
        ("annotators", ", ".join(name or "(unnamed)" for name in f.annotators) or "none"),
    ]
    if f.probe is not None:
        rows += _probe_rows(f.probe)
    if f.scores is not None:
        rows.append(("intervals", f"95 %, bootstrap, {f.scores.drawn} drawn again"))
    return sections.section(
        "made",
        "How this was made",
        h("dl", [(h("dt", name), h("dd", value)) for name, value in rows], class_="made"),
    )


def _probe_rows(probe: Probe) -> list[tuple[str, object]]:
    training: Any = probe.training
    key = probe.key
    parts: dict[str, list[str]] = {}
    for segment in training.get("segments", ()):
        names = parts.setdefault(str(segment["part"]), [])
        if segment["recording"] not in names:
            names.append(str(segment["recording"]))
    split = "; ".join(f"{part}: {', '.join(names)}" for part, names in parts.items())
    versions = training.get("versions", {})
    crop = f", crop: {key.crop}"
    return [
        ("probe", [probe.name, " ", h("code", probe.digest[:16])]),
        (
            "features",
            [
                f"{key.label}, windows of {key.length} frames every {key.hop}, "
                f"{_every(key.step)}, {key.pooling} × {key.pooling} tokens{crop} ",
                h("code", key.digest),
            ],
        ),
        ("weights", h("code", key.weights_sha256[:16])),
        ("split", split or "not recorded"),
        ("seed", str(training.get("seed", "not recorded"))),
        ("thresholds", ", ".join(f"{n} {t:.2f}" for n, t in probe.decision.thresholds.items())),
        (
            "shortest bouts",
            ", ".join(f"{n} {m}" for n, m in probe.decision.min_bout.items()) + " frames",
        ),
        ("parameters", f"{int(training.get('parameters', 0)):,}"),
        ("versions", ", ".join(f"{n} {v}" for n, v in versions.items()) or "not recorded"),
    ]


def _every(step: int) -> str:
    return "every frame" if step == 1 else f"one frame of {step}"


def _footer(f: Findings) -> Html:
    lines = [
        "Predictions are estimates of a program, not observations. Check them in the video "
        "before you count on them."
    ]
    if f.probe is not None and not f.probe.key.trained:
        lines.append("The encoder's weights are random.")
    return h("footer", [h("p", line) for line in lines])
