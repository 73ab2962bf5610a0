"""The probe dock on a small project: train, watch, set thresholds, review; nothing is lost."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from video_samples import Sample, write

from ethoprism import registry, workflow
from ethoprism.annotation import bout_table, runs, span_table
from ethoprism.cli import app
from ethoprism.ethogram import Ethogram
from ethoprism.exchange.spec import FrameLabels
from ethoprism.prediction import decide
from ethoprism.progress import LearningProgress
from ethoprism.project import Project, Settings
from ethoprism.tokens import TokenKey, TokenStore

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism import probe_run, probe_training  # noqa: E402
from napari_ethoprism.probe_dock import ProbeDock  # noqa: E402
from napari_ethoprism.review import Outcome  # noqa: E402
from napari_ethoprism.session import Moment, Session  # noqa: E402
from napari_ethoprism.shown import PredictionLoader  # noqa: E402

KEY = TokenKey("prism-nano", "0" * 64, "float32", False, 1, 32, 2, 16, 4, 2, 1, 2)
NAMES = ("walk", "groom", "unseen")
N = 400


def _tokens(states: np.ndarray, seed: int) -> np.ndarray:
    """Tokens that carry a sign of each behaviour, in noise."""
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((len(states), 2, 2, 16)).astype(np.float32)
    for column in range(states.shape[1]):
        tokens[..., 4 * column : 4 * column + 4] += 2.5 * states[:, column, None, None, None]
    return tokens


def _bouts(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([np.repeat(rng.random(N // 20) < share, 20) for share in (0.5, 0.3)], axis=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with tokens, of which two are labelled; nobody has seen "unseen"."""
    root = tmp_path_factory.mktemp("template")
    videos = root / "videos"
    videos.mkdir()
    project = Project.create(root / "project", Settings(), Ethogram().with_names(NAMES))
    rows: list[dict[str, object]] = []
    spans: list[dict[str, object]] = []
    for seed, name in enumerate("abc"):
        video = write(videos, Sample(f"{name}.mkv", "ffv1", "gray", size=(32 + 16 * seed, 32)), N)
        project, _, _ = workflow.add_recording(project, video)
        states = _bouts(seed)
        path = project.tokens_path(KEY.digest, name)
        store = TokenStore.create(path, KEY, N, project.entry(name).content_key)
        tokens = _tokens(states, seed)
        for block in range(store.n_blocks):
            start, stop = store.block(block)
            store.write_block(block, tokens[start:stop], np.ones(stop - start, bool))
        if name == "c":
            continue
        for column, behaviour in enumerate(NAMES[:2]):
            spans.append(
                {"recording": name, "behaviour": behaviour, "start_frame": 0, "stop_frame": N}
            )
            for start, stop in runs(states[:, column]).tolist():
                where = {"start_frame": start, "stop_frame": stop}
                rows.append({"recording": name, "behaviour": behaviour, **where})
    with workflow.open_annotations(project) as labels:
        labels.add(bout_table(rows), span_table(spans), description="made for a test")
    return root


@pytest.fixture(scope="module")
def trained(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a probe and its predictions."""
    root = tmp_path_factory.mktemp("trained") / "copy"
    shutil.copytree(template, root)
    project = Project.open(root / "project")
    for _ in probe_run.train_and_predict(project, {"name": "first"}, project.recording_ids):
        pass
    return root


@pytest.fixture
def session(qtbot: Any) -> Iterator[Session]:
    made = Session()
    made.sought.connect(lambda recording, frame: _look(made, recording, frame))
    yield made
    assert made.jobs.close()
    made.close()


def _look(session: Session, recording: str, frame: int) -> None:
    """What the viewer does when it is asked to show a frame."""
    assert session.project is not None
    entry = session.entry
    shown = session.recording
    if shown is None or (recording and (entry is None or entry.id != recording)):
        shown = session.project.recording(recording)
    session.moment = Moment(shown, frame)


@pytest.fixture
def open_dock(
    session: Session, qtbot: Any, tmp_path: Path
) -> Callable[[Path], tuple[ProbeDock, Project]]:
    """Opens a copy of a project in a dock, at the first frame of its third recording."""

    def opened(source: Path) -> tuple[ProbeDock, Project]:
        shutil.copytree(source, tmp_path / "copy")
        project = Project.open(tmp_path / "copy" / "project")
        loader = PredictionLoader(session)
        dock = ProbeDock(session)
        qtbot.addWidget(dock, before_close_func=lambda _: loader.close())
        dock.resize(400, 900)
        dock.show()
        session.open_project(project)
        session.seek(0, "c")
        _rest(qtbot, session)
        qtbot.waitUntil(lambda: len(dock.training.survey.recordings) == 3, timeout=20_000)
        return dock, project

    return opened


def _rest(qtbot: Any, session: Session) -> None:
    qtbot.waitUntil(lambda: not session.jobs.active, timeout=120_000)


def _rows(table: Any) -> dict[str, list[str]]:
    items = [table.topLevelItem(i) for i in range(table.topLevelItemCount())]
    return {i.text(0): [i.text(c) for c in range(1, i.columnCount())] for i in items}


def test_train_until_predictions_show(
    open_dock: Callable[[Path], Any], session: Session, template: Path, qtbot: Any
) -> None:
    dock, project = open_dock(template)
    panel = dock.training
    walk = _bouts(0)[:, 0].sum() + _bouts(1)[:, 0].sum()
    assert _rows(panel.choices.behaviours)["walk"][1:] == [f"{walk:,}", f"{2 * N - walk:,}"]
    assert panel.choices.chosen_behaviours == ("walk", "groom")
    assert panel.choices.chosen_recordings == ("a", "b")
    assert "no labels" in panel.choices.recordings.topLevelItem(2).toolTip(0)
    assert "not labelled yet" in panel.choices.behaviours.topLevelItem(2).toolTip(0)
    assert session.actions.trigger("train_probe")
    assert panel.busy and not session.actions["train_probe"].enabled()
    qtbot.waitUntil(lambda: bool(panel.curve.points), timeout=180_000)
    qtbot.waitUntil(lambda: bool(session.predictions), timeout=180_000)
    _rest(qtbot, session)
    losses = [p.loss for p in panel.curve.points]
    assert len(losses) >= 3 and min(losses) < losses[0] and all(map(math.isfinite, losses))
    assert set(panel.curve.points[-1].scores) == {"walk", "groom"}
    (shown,) = session.predictions
    assert (shown.recording, shown.probe, session.probe) == ("c", "probe", "probe")
    truth = _bouts(2)
    called = decide(shown.prediction, shown.decision) == 1
    assert (called == truth).mean() > 0.9
    assert dock.probes.currentText() == "probe"
    assert "unseen" in panel.remark.text()
    assert "untrained" in dock.remark.text()
    assert set(_rows(panel.curve.table)) == {"walk", "groom"}
    for name in project.recording_ids:
        assert project.prediction_path("probe", name).exists()


def test_another_probe_of_that_name_is_replaced_only_when_asked(
    open_dock: Callable[[Path], Any], session: Session, trained: Path, qtbot: Any
) -> None:
    dock, project = open_dock(trained)
    panel = dock.training
    before = (project.probe_folder("first") / "probe.safetensors").read_bytes()
    panel.name.setText("first")
    panel.train()
    assert not panel.busy and panel.question.isVisible()
    assert "'first'" in panel.remark.text() and "replaces it" in panel.remark.text()
    panel.keep_button.click()
    assert panel.busy and panel.name.text() == "first-2"
    _rest(qtbot, session)
    assert set(probe_run.probe_names(project)) == {"first", "first-2"}
    assert (project.probe_folder("first") / "probe.safetensors").read_bytes() == before
    assert session.probe == "first-2" and session.predictions[0].probe == "first-2"
    dock.probes.setCurrentIndex(dock.probes.findData("first"))
    dock.probes.activated.emit(dock.probes.currentIndex())
    qtbot.waitUntil(lambda: [s.probe for s in session.predictions] == ["first"], timeout=20_000)


def test_cancelled_training_leaves_no_probe(
    open_dock: Callable[[Path], Any], session: Session, template: Path, qtbot: Any
) -> None:
    dock, project = open_dock(template)
    panel = dock.training
    panel.train()
    qtbot.waitUntil(lambda: bool(panel.curve.points), timeout=180_000)
    panel.cancel()
    _rest(qtbot, session)
    qtbot.waitUntil(lambda: not panel.busy, timeout=10_000)
    assert not project.probe_folder("probe").exists()
    assert "No probe was saved" in panel.remark.text()
    assert panel.can_train() and not panel.cancel_button.isVisible()
    assert session.predictions == ()


def test_what_is_lacking_is_said(
    open_dock: Callable[[Path], Any], session: Session, template: Path, qtbot: Any
) -> None:
    dock, project = open_dock(template)
    panel = dock.training
    shutil.rmtree(project.tokens_path(KEY.digest, "a"))
    panel.refresh()
    qtbot.waitUntil(lambda: panel.choices.chosen_recordings == ("b",), timeout=20_000)
    assert "no tokens" in panel.choices.recordings.topLevelItem(0).toolTip(0)
    assert panel.can_train()
    for name in "bc":
        shutil.rmtree(project.tokens_path(KEY.digest, name))
    session.jobs.start("As an extraction ends", lambda: None)
    qtbot.waitUntil(lambda: not panel.can_train(), timeout=180_000)
    assert "Extract them in the dock EthoPrism" in panel.remark.text()


def test_an_error_of_the_training_is_readable(
    open_dock: Callable[[Path], Any], session: Session, template: Path, qtbot: Any
) -> None:
    dock, project = open_dock(template)
    panel = dock.training
    shutil.rmtree(project.tokens_path(KEY.digest, "a"))  # after the survey
    panel.train()
    _rest(qtbot, session)
    assert not panel.busy and "tokens" in panel.remark.text()
    assert "ethoprism extract" in panel.remark.text()


def test_sliders_change_what_is_shown_and_what_is_exported(
    open_dock: Callable[[Path], Any], session: Session, trained: Path, qtbot: Any, tmp_path: Path
) -> None:
    dock, project = open_dock(trained)
    panel = dock.decision
    qtbot.waitUntil(lambda: bool(session.predictions) and set(panel.rows) == {"walk", "groom"})
    before = session.predictions[0]
    row = panel.rows["walk"]
    qtbot.waitUntil(lambda: "bouts" in row.effect.text())
    told = row.effect.text()
    row.threshold.setValue(1000)
    qtbot.waitUntil(lambda: session.predictions[0].decision.thresholds["walk"] < 0.002)
    after = session.predictions[0]
    assert after.prediction is before.prediction
    assert after.decision.thresholds["groom"] == before.decision.thresholds["groom"]
    qtbot.waitUntil(lambda: row.effect.text() != told)
    row.min_bout.setValue(7)
    qtbot.waitUntil(lambda: session.predictions[0].decision.min_bout["walk"] == 7)
    assert panel.save_button.isEnabled() and "not saved" in panel.remark.text()
    session.seek(0, "a")  # the change goes on to another recording
    qtbot.waitUntil(lambda: [s.recording for s in session.predictions] == ["a"], timeout=20_000)
    assert session.predictions[0].decision == panel.decision
    session.seek(0, "c")
    qtbot.waitUntil(lambda: [s.recording for s in session.predictions] == ["c"], timeout=20_000)
    panel.save()
    qtbot.waitUntil(lambda: not panel.save_button.isEnabled(), timeout=20_000)
    assert not panel.remark.isVisible()
    _rest(qtbot, session)
    (shown,) = session.predictions
    mine, theirs = tmp_path / "mine.csv", tmp_path / "theirs.csv"
    states = decide(shown.prediction, shown.decision)
    labels = FrameLabels(
        "c",
        "",
        project.frame_times("c"),
        shown.prediction.behaviours,
        states,
        shown.prediction.covered,
        shown.prediction.probability,
        "automated",
    )
    registry.load("exchange", "frames-csv").write(mine, [labels])
    command = ["export", str(project.folder), "--probe", "first", "-r", "c", "--out", str(theirs)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert mine.read_bytes() == theirs.read_bytes()
    panel.reset()
    qtbot.waitUntil(lambda: session.predictions[0].decision == before.decision)
    assert panel.save_button.isEnabled() and not panel.reset_button.isEnabled()


def test_review_makes_curated_bouts_that_undo_takes_back(
    open_dock: Callable[[Path], Any], session: Session, trained: Path, qtbot: Any
) -> None:
    dock, _ = open_dock(trained)
    panel, labels = dock.review, session.labels
    assert labels is not None
    qtbot.waitUntil(lambda: session.probe == "first" and bool(session.predictions))
    assert not session.actions["review_accept"].enabled()
    panel.scope.setCurrentIndex(1)
    panel.start()
    qtbot.waitUntil(lambda: panel.running, timeout=20_000)
    while (item := panel.queue.current) is not None and item.stop - item.start < 3:
        assert session.actions.trigger("review_skip")
    assert item is not None and item.recording == "c"
    assert session.frame == item.start and session.selection is not None
    assert session.selection.spans[0].start == item.start
    _look(session, "c", item.start + 1)
    assert session.actions.trigger("review_start")
    assert session.actions.trigger("review_accept")
    (bout,) = labels.bouts("c").to_dict("records")
    assert (bout["behaviour"], bout["source"]) == (item.behaviour, "curated")
    assert (bout["start_frame"], bout["stop_frame"]) == (item.start + 1, item.stop)
    (span,) = labels.spans("c").to_dict("records")
    assert (span["start_frame"], span["stop_frame"]) == (item.start + 1, item.stop)
    second = panel.queue.current
    assert second is not None and second != item
    assert session.actions.trigger("review_reject")
    assert len(labels.bouts("c")) == 1
    absent = labels.spans("c").query("behaviour == @second.behaviour")
    assert ((absent["start_frame"] <= second.start) & (absent["stop_frame"] >= second.stop)).any()
    labels.undo()
    assert panel.queue.current == second and panel.queue.outcome is Outcome.OPEN
    labels.undo()
    assert labels.bouts("c").empty and labels.spans("c").empty
    assert panel.queue.tally.accepted == panel.queue.tally.rejected == 0
    panel.stop()
    assert not session.actions["review_accept"].enabled()


def test_review_relabels_and_goes_back(
    open_dock: Callable[[Path], Any], session: Session, trained: Path, qtbot: Any
) -> None:
    dock, _ = open_dock(trained)
    panel, labels = dock.review, session.labels
    assert labels is not None
    qtbot.waitUntil(lambda: session.probe == "first" and bool(session.predictions))
    panel.scope.setCurrentIndex(1)
    panel.start()
    qtbot.waitUntil(lambda: panel.running, timeout=20_000)
    item = panel.queue.current
    assert item is not None
    panel.relabel()
    names = [action.text() for action in panel.card.menu.actions()]
    assert names == ["&1 walk", "&2 groom", "&3 unseen"]
    panel.card.menu.actions()[2].trigger()
    panel.card.menu.close()
    assert list(labels.bouts("c")["behaviour"]) == ["unseen"]
    assert set(labels.spans("c")["behaviour"]) == {"unseen", item.behaviour}
    assert panel.queue.tally.rejected == 1
    assert session.actions.trigger("review_previous")
    assert panel.queue.current == item
    assert session.actions.trigger("review_skip")
    assert panel.queue.tally.skipped == 1


def test_edits_after_the_training_ask_for_another(
    open_dock: Callable[[Path], Any], session: Session, trained: Path, qtbot: Any
) -> None:
    dock, _ = open_dock(trained)
    labels = session.labels
    assert labels is not None
    qtbot.waitUntil(lambda: "untrained" in dock.remark.text())
    assert "older" not in dock.remark.text()
    row: dict[str, object] = {"recording": "c", "behaviour": "walk"}
    table = bout_table([{**row, "start_frame": 3, "stop_frame": 9}])
    labels.apply(add_bouts=table, description="one more")
    qtbot.waitUntil(lambda: "older than 1 edit" in dock.remark.text(), timeout=20_000)


def test_nothing_is_left_behind(
    session: Session, trained: Path, qtbot: Any, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    session.open_project(Project.open(tmp_path / "copy" / "project"))
    assert session.labels is not None
    signals = [session.labels.changed, session.jobs.changed]
    signals += [getattr(session.events, n) for n in ("project", "probe", "moment", "predictions")]
    before = [len(signal) for signal in signals]
    dock = ProbeDock(session)
    dock.show()
    assert [len(signal) for signal in signals] > before
    session.probe = "first"
    _rest(qtbot, session)
    with qtbot.waitSignal(dock.destroyed):
        dock.close()
        dock.deleteLater()
    assert [len(signal) for signal in signals] == before
    assert not list(session.actions)
    session.probe = ""  # nobody listens


def test_progress_of_a_second_training_starts_a_new_curve(qtbot: Any) -> None:
    from napari_ethoprism.learning_curve import LearningCurve

    curve = LearningCurve()
    qtbot.addWidget(curve)
    for step in (25, 50, 75):
        curve.add(LearningProgress(step, 600, "", 1 / step, {"walk": 0.5, "groom": math.nan}))
    assert [p.done for p in curve.points] == [25, 50, 75]
    curve.add(LearningProgress(25, 600, "", 0.1, {"walk": 0.7}))
    assert [p.done for p in curve.points] == [25]
    assert _rows(curve.table)["walk"][0] == "0.70"


def test_choosing_says_what_the_command_line_would(
    open_dock: Callable[[Path], Any], template: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    from qtpy.QtCore import Qt

    dock, _ = open_dock(template)
    panel = dock.training
    told: list[tuple[dict[str, Any], Any]] = []

    def recorded(_: Project, options: dict[str, Any], order: Any) -> Generator[Any, None, Any]:
        told.append((options, order))
        yield from ()
        return SimpleNamespace(behaviours=("walk",))

    monkeypatch.setattr(probe_training.probe_run, "train_and_predict", recorded)
    assert panel.choices.choice() == {"behaviours": (), "recordings": (), "test": ()}
    panel.choices.behaviours.topLevelItem(1).setCheckState(0, Qt.CheckState.Unchecked)
    panel.choices.recordings.topLevelItem(1).setCheckState(3, Qt.CheckState.Checked)
    assert panel.choices.choice() == {
        "behaviours": ("walk",),
        "recordings": (),
        "test": ("b",),
    }
    panel.options.seed.setValue(5)
    panel.train()
    qtbot.waitUntil(lambda: not panel.busy, timeout=10_000)
    ((options, order),) = told
    assert (options["name"], options["seed"]) == ("probe", 5)
    assert options["behaviours"] == ("walk",)
    assert next(iter(order)) == "c" and set(order) == set("abc")
    panel.choices.recordings.topLevelItem(0).setCheckState(0, Qt.CheckState.Unchecked)
    assert not panel.can_train() and "Choose a recording" in panel.remark.text()
