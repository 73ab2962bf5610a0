"""The worst errors, as pictures that name frame and time."""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from ethoprism.errors import EthoPrismError
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.report import numbers
from ethoprism.report.gather import Findings
from ethoprism.report.markup import Html, h
from ethoprism.report.numbers import Mistake
from ethoprism.report.scales import clock
from ethoprism.report.sections import section, swatch
from ethoprism.thumbnails import Thumbnails

MOST_MISTAKES = 2
_PICTURE = 132


def mistakes(f: Findings, project: Project) -> Generator[Progress, None, Html]:
    """The worst errors as pictures; the generator's result is the section."""
    found = numbers.worst_mistakes(f.pairings, f.behaviours, MOST_MISTAKES)
    unseen = f.basis in ("held out", "folds")
    if f.basis == "folds" and f.probe is not None:
        found = [_in_frames(mistake, f.probe.key.step) for mistake in found]
    if not unseen or not found:
        why = (
            "There are none in the scored frames."
            if f.pairings and unseen
            else "No frame could be scored."
        )
        return section("mistakes", "The worst errors", h("p", why))
    times = {v.unit.name: v for v in f.views}
    items = []
    with Thumbnails(project, size=_PICTURE) as thumbnails:
        for i, mistake in enumerate(found):
            yield Progress(i, len(found), "pictures of errors")
            name = (
                f"{mistake.recording}@{mistake.subject}" if mistake.subject else mistake.recording
            )
            view = times[name]
            picture = _strip(thumbnails, mistake)
            items.append(h("li", _mistake(f, mistake, picture, view.times)))
    return section(
        "mistakes",
        "The worst errors",
        h(
            "p",
            "Of each behaviour the stretches in which the probe is most surely wrong, missed ones "
            "and false ones. Three frames each: the first, the one that is farthest from the "
            "truth, the last. Some of these may be errors of the labels: look at them in the "
            "video.",
        ),
        h("ul", items, class_="errors"),
    )


def _in_frames(m: Mistake, step: int) -> Mistake:
    """A mistake whose places are rows of tokens, with those of the frames that they are of."""
    return replace(m, start=m.start * step, stop=(m.stop - 1) * step + 1, frame=m.frame * step)


def _mistake(f: Findings, m: Mistake, picture: str, times: np.ndarray) -> Html:
    said = "missed" if m.missed else "called, but not there"
    alternative = f"{m.behaviour} {said} in {m.recording}, frames {m.start} to {m.stop - 1}"
    image = (
        h("img", src=picture, alt=alternative)
        if picture
        else h("p", "The video could not be read.", class_="note")
    )
    whose = f" ({m.subject})" if m.subject else ""
    when = clock(float(times[m.frame]), float(times[-1]))
    lasts = float(times[m.stop - 1] - times[m.start])
    return h(
        "figure",
        image,
        h(
            "figcaption",
            swatch(f.colour(m.behaviour)),
            h("strong", m.behaviour),
            " ",
            h("span", said, class_="tag"),
            h("br"),
            f"{m.recording}{whose}, frame {m.frame:,} at {when} "
            f"(frames {m.start:,} to {m.stop - 1:,}, {lasts:.2f} s); "
            f"mean probability {m.probability:.2f}",
        ),
    )


def _strip(thumbnails: Thumbnails, m: Mistake) -> str:
    """Three frames side by side as a data URI; empty where the video cannot be read."""
    try:
        pictures = [
            thumbnails.get(m.recording, frame, m.subject)
            for frame in (m.start, m.frame, m.stop - 1)
        ]
    except EthoPrismError:
        return ""
    return data_uri(side_by_side(pictures))


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size in a row, two white pixels apart."""
    gap = np.full((pictures[0].shape[0], 2, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)


def data_uri(picture: np.ndarray) -> str:
    """A picture, uint8 ``[height, width, 3]``, as a JPEG inside a URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
