"""What the timeline draws, from tables and predictions to pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethoprism.annotation import bout_table, runs, span_table
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.postprocess import Chain
from ethoprism.prediction import Decision, Prediction, decide
from napari_ethoprism.timeline_data import (
    Coded,
    Row,
    Shade,
    ShadedRows,
    TimelineData,
    decided_ranges,
    decision_settings,
    in_rows,
    labelled,
    timeline_rows,
)
from napari_ethoprism.timeline_layout import Layout
from napari_ethoprism.timeline_model import View
from napari_ethoprism.timeline_raster import Lane, Options, Theme, bands, draw, packed

DARK = Theme((35, 36, 43), (240, 241, 242), (84, 148, 255))
LIGHT = Theme((235, 231, 230), (30, 30, 33), (84, 148, 255))
ETHOGRAM = Ethogram(
    (Behaviour("walk", colour="#E69F00"), Behaviour("jump", colour="#009E73", kind="point"))
)
N = 100


def _tables(sources: tuple[str, ...] = ("manual",)) -> tuple[Coded, Coded]:
    rows: list[dict[str, object]] = [
        {
            "recording": "r",
            "behaviour": "walk",
            "start_frame": 10 + 20 * i,
            "stop_frame": 20 + 20 * i,
            "source": source,
        }
        for i, source in enumerate(sources)
    ]
    rows.append({"recording": "r", "behaviour": "jump", "start_frame": 50, "stop_frame": 51})
    span = {"recording": "r", "behaviour": "walk", "start_frame": 0, "stop_frame": 80}
    return Coded.of(bout_table(rows)), Coded.of(span_table([span]))


def _data(sources: tuple[str, ...] = ("manual",)) -> TimelineData:
    rows = timeline_rows(ETHOGRAM, ("",))
    return TimelineData(N, rows, *labelled(N, rows, *_tables(sources)))


def _prediction(probability: np.ndarray, covered: np.ndarray | None = None) -> Prediction:
    n, behaviours = probability.shape
    names = tuple(f"b{i}" for i in range(behaviours))
    covered = np.ones(n, bool) if covered is None else covered
    return Prediction("r", "", names, probability.astype(np.float32), covered, "p", "toy", "k")


def _built(prediction: Prediction) -> Shade:
    shade = Shade(prediction)
    assert not shade.ready
    for _ in shade.build():
        pass
    assert shade.ready
    return shade


def test_rows_follow_the_ethogram_for_each_subject_and_strangers_come_last() -> None:
    rows = timeline_rows(ETHOGRAM, ("a", "b"), ["walk", "old name"])
    assert [(r.subject, r.behaviour) for r in rows] == [
        *(("a", name) for name in ("walk", "jump", "old name")),
        *(("b", name) for name in ("walk", "jump", "old name")),
    ]
    assert rows[1].kind == "point" and rows[0].colour == "#E69F00"


def test_labels_of_rows_that_are_not_shown_are_left_out() -> None:
    bouts, spans = _tables(("manual", "curated", "automated"))
    rows = timeline_rows(ETHOGRAM, ("",))[:1]
    shown, sources, observed = labelled(N, rows, bouts, spans)
    assert shown.starts.tolist() == [10, 30, 50]
    assert [len(s) for s in sources] == [1, 1, 1]
    assert observed.at(0, 79) == (0, 80)
    assert labelled(N, (), bouts, spans)[0].ids.tolist() == []
    empty = Coded.of(bout_table()), Coded.of(span_table())
    assert len(labelled(N, rows, *empty)[0]) == 0


@settings(max_examples=60)
@given(st.data())
def test_a_peak_is_seen_at_every_zoom_and_nothing_is_invented(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 3000))
    probability = np.zeros((n, 2), np.float32)
    peaks = data.draw(st.lists(st.integers(0, n - 1), max_size=5))
    probability[peaks, 1] = 1.0
    shade = _built(_prediction(probability))
    view = View.whole(data.draw(st.integers(1, 200)), n)
    view = view.zoomed(data.draw(st.floats(1, 200)), data.draw(st.floats(0, view.width)))
    columns = view.columns()
    values = shade.values(columns, np.array([0, 1]))
    assert values.shape == (2, len(columns.edges) - 1) and not values[0].any()
    width = np.diff(columns.edges)
    for frame in peaks:
        if columns.edges[0] <= frame < columns.edges[-1]:
            cell = int(np.searchsorted(columns.edges, frame, side="right")) - 1
            near = slice(max(cell - 1, 0), cell + 2)
            assert values[1, near].max() >= 127
            if width.max() == 1:
                assert values[1, cell] == 255
    for cell in np.flatnonzero(values[1]):
        low, high = columns.edges[cell] - width.max(), columns.edges[cell + 1] + width.max()
        assert any(low <= frame < high for frame in peaks)


def test_shade_is_there_at_once_and_leaves_out_what_was_not_covered() -> None:
    probability = np.full((1000, 1), 0.8, np.float32)
    probability[0] = np.nan
    covered = np.arange(1000) < 500
    covered[0] = False
    prediction = _prediction(probability, covered)
    columns = View.whole(100, 1000).columns()
    for shade in (Shade(prediction), _built(prediction)):
        values = shade.values(columns, np.array([0]))[0]
        assert values[1:50].min() >= 203 and values[1:50].max() <= 205 and not values[50:].any()


_CHAIN = Chain(("b0", "b2"), ((0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.1, 0.2, 0.7)), (0.4, 0.3, 0.3))


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_bouts_that_are_decided_one_behaviour_at_a_time_are_those_of_all(
    seed: int, chained: bool
) -> None:
    rng = np.random.default_rng(seed)
    prediction = _prediction(rng.random((60, 4)), rng.random(60) < 0.9)
    names = prediction.behaviours
    decision = Decision(
        {name: float(rng.random()) for name in names},
        {name: int(rng.integers(1, 5)) for name in names},
        (("b0", "b2"),),
        {"b1": float(rng.random())},
        {"b3": int(rng.integers(1, 9))},
        (_CHAIN,) if chained else (),
    )
    wanted = decide(prediction, decision)
    work = decided_ranges(prediction, decision, names)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            found = stop.value
            break
    for column, name in enumerate(names):
        np.testing.assert_array_equal(found[name], runs(wanted[:, column] == 1))


def test_a_threshold_that_moves_concerns_its_behaviour_alone() -> None:
    prediction = _prediction(np.zeros((5, 3)))
    names = prediction.behaviours
    before = Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 1), (("b0", "b1"),))
    after = Decision({**before.thresholds, "b1": 0.6}, before.min_bout, before.exclusive)
    old, new = (decision_settings(prediction, d) for d in (before, after))
    assert [name for name in names if old[name] != new[name]] == ["b1"]


def test_all_that_a_decision_holds_moves_what_depends_on_it() -> None:
    prediction = _prediction(np.zeros((5, 4)))
    names = prediction.behaviours
    before = Decision(
        dict.fromkeys(names, 0.5), dict.fromkeys(names, 1), (("b0", "b2"),), chains=(_CHAIN,)
    )
    moved = {
        "b0 b2": replace(before, thresholds={**before.thresholds, "b2": 0.6}),
        "b1": replace(before, low={"b1": 0.3}),
        "b3": replace(before, min_gap={"b3": 4}),
    }
    old = decision_settings(prediction, before)
    for wanted, after in moved.items():
        new = decision_settings(prediction, after)
        assert [name for name in names if old[name] != new[name]] == wanted.split()


# Pixels


def _picture(data: TimelineData, theme: Theme, width: int = N, **options: bool) -> np.ndarray:
    lanes = [Lane(row, 20 * row, 20) for row in range(len(data.rows))]
    columns = View.whole(width, data.n_frames).columns()
    return draw(data, columns, lanes, 20 * len(lanes), theme, Options(**options))


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_labels_absence_and_what_nobody_saw_are_told_apart(theme: Theme) -> None:
    picture = _picture(_data(), theme)
    walk = picture[8]
    assert (walk[10:20] == packed(theme.shown("#E69F00"))).all()
    assert (walk[20:80] == packed(theme.lane)).all()
    assert not np.isin(walk[80:], walk[:80]).any()
    assert len(np.unique(picture[2:18, 80:])) == 2  # ground and hatch


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_sources_are_told_apart(theme: Theme) -> None:
    picture = _picture(_data(("manual", "automated", "curated")), theme)[:20]
    manual, automated, curated = (picture[2:17, a : a + 10] for a in (10, 30, 50))
    solid = packed(theme.shown("#E69F00"))
    assert (manual == solid).all()
    assert 0.3 < (automated == solid).mean() < 0.7
    assert (curated[-5:] == solid).all() and (curated[0] != solid).all()


def test_a_point_event_is_wider_than_its_frame_when_that_is_thin() -> None:
    data = _data()
    row = _picture(data, DARK, width=50)[28]
    assert (row[25:27] == packed(DARK.shown("#009E73"))).all()


def test_predictions_are_shade_with_decided_bouts_on_top() -> None:
    probability = np.zeros((N, 2), np.float32)
    probability[40:60, 0] = 0.6
    prediction = _prediction(probability, np.arange(N) < 90)
    data = _data()
    part = ShadedRows(prediction, _built(prediction), "p", True, np.array([0]), np.array([0]))
    data = TimelineData(
        N,
        data.rows,
        data.bouts,
        data.sources,
        data.observed,
        in_rows([(0, np.array([[45, 55]]))], N),
        in_rows([(0, np.array([[0, 90]]))], N),
        (part,),
    )
    both = _picture(data, DARK)
    top, middle, lower, bottom = bands(Lane(0, 0, 20), Options(), True)
    assert top < middle < lower < bottom <= 20
    solid = packed(DARK.shown("#E69F00"))
    assert (both[bottom - 1, 45:55] == solid).all()
    assert not (both[bottom - 1, 40:45] == solid).any()
    assert (both[lower, 40:60] == both[lower, 40]).all() and both[lower, 40] != both[lower, 39]
    assert (both[middle - 1, 10:20] == solid).all()
    without = _picture(data, DARK, shade=False)
    assert (without[lower:bottom, 45:55] == solid).all()
    assert not (_picture(data, DARK, decided=False) == solid)[lower:bottom].any()
    neither = _picture(data, DARK, shade=False, decided=False)
    np.testing.assert_array_equal(neither, _picture(_data(), DARK))


def test_rows_partly_outside_the_picture_are_cut() -> None:
    data = _data()
    whole = _picture(data, DARK)
    columns = View.whole(N, N).columns()
    lanes = [Lane(0, -7, 20), Lane(1, 13, 20)]
    np.testing.assert_array_equal(
        draw(data, columns, lanes, 10, DARK, Options())[:, :80], whole[7:17, :80]
    )
    assert draw(data, columns, [], 4, DARK, Options()).shape == (4, N)


def test_bouts_that_touch_are_divided_when_they_are_wide() -> None:
    bouts = [
        {"recording": "r", "behaviour": "walk", "start_frame": a, "stop_frame": a + 10}
        for a in (10, 20)
    ]
    rows = timeline_rows(ETHOGRAM, ("",))
    tables = Coded.of(bout_table(bouts)), Coded.of(span_table())
    row = _picture(TimelineData(N, rows, *labelled(N, rows, *tables)), DARK, width=10 * N)[8]
    solid = packed(DARK.shown("#E69F00"))
    assert (row[100:300] != solid).sum() == 1 and row[200] != solid


# Layout


def test_rows_lie_below_headings_and_are_found_by_place() -> None:
    rows = [Row("walk", "a"), Row("jump", "a"), Row("walk", "b")]
    layout = Layout.of(rows, 20, 12)
    assert layout.tops.tolist() == [12, 32, 64] and layout.height == 84
    assert layout.headings == (("a", 0), ("b", 52))
    assert [layout.row_at(y) for y in (0, 12, 31.5, 52, 60, 64, 83, 84)] == [
        None,
        0,
        0,
        None,
        None,
        2,
        2,
        None,
    ]
    assert layout.between(33, 60) == range(1, 2) and layout.between(0, 5) == range(0, 0)
    single = Layout.of([Row("walk", "")], 20, 12)
    assert single.headings == () and single.tops.tolist() == [0]
    assert Layout.of([], 20, 12).row_at(3) is None
