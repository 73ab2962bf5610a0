"""What the project dock says, without Qt's widgets: rows, durations, facts, notices, recents."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.estimate import Estimate, UnitEstimate
from ethoprism.ethogram import Ethogram
from ethoprism.overview import RecordingState, TokenShare
from ethoprism.project import Project, Settings
from ethoprism.recording_table import Entry
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenKey

pytest.importorskip("psygnal")
pytest.importorskip("qtpy")

from napari_ethoprism.extract_run import Plan, device, facts, ordinal, size
from napari_ethoprism.jobs_panel import duration
from napari_ethoprism.notice_log import MOST, NoticeLog
from napari_ethoprism.project_recent import RecentProjects
from napari_ethoprism.project_rows import cells, clock, percent
from napari_ethoprism.session import Notice

KEY = TokenKey("toy", "0" * 64, "float32", False, 1, 16, 4, 8, 6, 3, 1, 4)
ENTRY = Entry("fly", "fly.mp4", "0" * 64, 1000, 96, 128)


def _state(**changes: object) -> RecordingState:
    values: dict[str, object] = {
        "entry": ENTRY,
        "seconds": 40.0,
        "subjects": (),
        "bouts": 0,
        "observed": 0,
        "present": (),
        "tokens": (),
        "other_tokens": (),
        "predictions": (),
        "problem": "",
    }
    return RecordingState(**{**values, **changes})  # type: ignore[arg-type]


def _texts(state: RecordingState) -> list[str]:
    return [cell.text for cell in cells(state)]


def test_row_of_a_recording_of_which_nothing_is_known_yet() -> None:
    assert _texts(_state()) == ["fly", "0:40", "1,000", "–", "none", "–"]


def test_row_tells_shares_and_each_subject() -> None:
    tokens = (TokenShare(KEY, Unit("fly", "x"), 1.0), TokenShare(KEY, Unit("fly", "y"), 0.5))
    row = cells(
        _state(bouts=3, observed=250, present=(("walk", 90),), tokens=tokens, predictions=("p",))
    )
    assert [cell.text for cell in row[3:]] == ["3 bouts", "75 %", "p"]
    assert row[3].share == 0.25 and row[4].share == 0.75
    assert "x: 100 %, toy (untrained)" in row[4].tip and "y: 50 %" in row[4].tip
    assert "walk: 90 frames" in row[3].tip
    whole = cells(_state(tokens=(tokens[0],)))
    assert whole[4].text == "complete" and whole[4].share == 1.0


@given(st.floats(0, 1))
def test_percent_never_rounds_to_all_or_nothing(share: float) -> None:
    text = percent(share)
    assert (text == "100 %") == (share == 1) and (text == "0 %") == (share == 0)


@given(st.floats(0, 1e6))
def test_clock_reads_back(seconds: float) -> None:
    text = clock(seconds)
    if text.endswith(" s"):
        assert abs(float(text[:-2]) - seconds) <= 0.051
    else:
        parts = [int(part) for part in text.split(":")]
        total = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        assert abs(total - seconds) <= 0.51 and all(part < 60 for part in parts[1:])


def test_words_for_times_bytes_devices_and_numbers() -> None:
    assert [duration(s) for s in (8.4, 170, 7800)] == ["8 s", "3 min", "2 h 10 min"]
    assert [size(n) for n in (3.1e6, 8.03e10)] == ["3.1 MB", "80.3 GB"]
    assert device("cpu") == "processor (CPU)" and device("gpu NVIDIA A100") == "GPU NVIDIA A100"
    assert [ordinal(n) for n in (2, 3, 4, 11, 21)] == ["2nd", "3rd", "4th", "11th", "21st"]


def test_facts_warn_of_untrained_backbones_full_disks_and_what_is_left_out(
    tmp_path: Path,
) -> None:
    project = Project.create(tmp_path / "p", Settings("toy"), Ethogram())
    unit = UnitEstimate(Unit("fly"), 1000, 600, 2_000_000, 12.0)
    skipped = (("gone", InputError("It is gone")),)
    said = facts(project, Plan(object(), Estimate(KEY, "cpu", (unit,), skipped, 1_000_000)))
    lines = {name: (text, warning) for name, text, warning in said}
    assert lines["To do"] == ("fly: 600 frames to encode, 400 are there already", False)
    assert lines["Time"] == ("about 12 s", False)
    assert lines["Disk"][1] and "it does not fit" in lines["Disk"][0]
    assert lines["Backbone"][1] and "untrained" in lines["Backbone"][0]
    assert lines["Left out"] == ("gone: It is gone.", True)
    ((name, text, warning),) = facts(project, Plan(None, None))
    assert name == "Backbone" and warning and "not on this computer" in text


def test_notices_are_kept_and_an_error_told_twice_is_one() -> None:
    log, now = NoticeLog(), datetime(2026, 1, 1)
    error = Notice("It failed. Try again.", "error")
    log.add(error, now=now)
    told = log.add(error, doing="Extract", now=now)  # by the dock and by its job
    assert len(log) == 1 and told.text == "Extract: It failed. Try again."
    told = log.add(error, now=now + timedelta(minutes=1))
    assert len(log) == 1 and told.text == "Extract: It failed. Try again. (2 times)"
    log.add(Notice("Done."), now=now)
    assert [item.notice.text for item in log] == ["It failed. Try again.", "Done."]
    assert log.text.splitlines()[1].endswith("info: Done.")
    for n in range(2 * MOST):
        log.add(Notice(str(n)))
    assert len(log) == MOST


def test_recent_projects_are_kept_newest_first_and_damage_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "config" / "recent.json"
    recent = RecentProjects(path)
    assert recent.folders() == []
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        Project.create(folder, Settings(), Ethogram())
        recent.add(folder)
    recent.add(folders[0])
    assert RecentProjects(path).folders() == [folders[0].resolve(), folders[1].resolve()]
    (folders[1] / "ethoprism.toml").unlink()
    assert recent.folders() == [folders[0].resolve()]
    path.write_text('{"projects": 3}')
    assert recent.folders() == []
    path.write_text("not json")
    recent.add(folders[0])
    assert recent.folders() == [folders[0].resolve()]
    blocked = RecentProjects(tmp_path / "a" / "ethoprism.toml" / "x.json")
    blocked.add(folders[0])
    assert blocked.folders() == []
