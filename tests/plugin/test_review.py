"""The review queue: nothing is lost, nothing is shown twice, and going back is always possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("napari")

from napari_ethoprism.review import RETRAIN_AFTER, Candidate, Outcome, ReviewQueue


def candidate(number: int, behaviour: str = "walk", reason: str = "uncertain") -> Candidate:
    return Candidate("r", "", behaviour, 10 * number, 10 * number + 5, 0.5, 0.4, reason)


def queue_of(n: int) -> ReviewQueue:
    names, reasons = ("walk", "groom"), ("uncertain", "rare", "disagrees with labels")
    return ReviewQueue(candidate(i, names[i % 2], reasons[i % 3]) for i in range(n))


def test_each_candidate_comes_once_and_in_order():
    queue = queue_of(4)
    seen = []
    while (item := queue.current) is not None:
        seen.append(item.start)
        queue.decide(Outcome.ACCEPTED if len(seen) % 2 else Outcome.REJECTED)
    assert seen == [0, 10, 20, 30]
    tally = queue.tally
    assert (tally.accepted, tally.rejected, tally.skipped, tally.left) == (2, 2, 0, 0)


def test_one_can_go_back_and_decide_anew():
    queue = queue_of(3)
    queue.decide(Outcome.ACCEPTED, edit=7)
    assert queue.previous() == queue.items[0] and queue.outcome is Outcome.ACCEPTED
    assert queue.decide(Outcome.REJECTED, edit=8) == queue.items[1]
    assert queue.tally.rejected == 1 and queue.tally.accepted == 0
    assert queue.edits == {8}


def test_the_end_leads_back_to_the_last_one():
    queue = queue_of(2)
    queue.decide(Outcome.SKIPPED)
    assert queue.decide(Outcome.SKIPPED) is None
    assert queue.previous() == queue.items[1]


def test_undoing_an_edit_opens_its_candidate_again():
    queue = queue_of(3)
    queue.decide(Outcome.ACCEPTED, edit=7)
    queue.decide(Outcome.REJECTED, edit=8)
    assert not queue.undone({99})
    assert queue.current == queue.items[2]
    assert queue.undone({7})
    assert queue.current == queue.items[0] and queue.outcome is Outcome.OPEN
    assert queue.tally.left == 2 and queue.edits == {8}
    queue.decide(Outcome.ACCEPTED, edit=9)
    assert queue.current == queue.items[2]


def test_edges_follow_the_playhead_and_never_cross():
    queue = queue_of(1)
    assert queue.adjust(start=2) and queue.current is not None and queue.current.start == 2
    assert not queue.adjust(start=5)
    assert not queue.adjust(stop=2)
    assert not queue.adjust(start=-1)
    assert queue.adjust(stop=30)
    assert (queue.current.start, queue.current.stop) == (2, 30)


def test_a_filter_shows_some_and_keeps_the_others():
    queue = queue_of(12)
    queue.filter(behaviours=["groom"], reasons=["rare"])
    assert queue.tally.total == 2 and queue.place == 1
    while queue.current is not None:
        assert (queue.current.behaviour, queue.current.reason) == ("groom", "rare")
        queue.decide(Outcome.ACCEPTED)
    queue.filter()
    assert queue.tally.accepted == 2 and queue.tally.left == 10
    assert queue.current == queue.items[0]


def test_another_training_is_offered_when_enough_was_decided():
    queue = queue_of(RETRAIN_AFTER + 2)
    queue.decide(Outcome.SKIPPED)
    for _ in range(RETRAIN_AFTER):
        assert not queue.wants_training
        queue.decide(Outcome.ACCEPTED)
    assert queue.wants_training
    queue.was_trained()
    assert not queue.wants_training


def test_an_empty_queue_is_at_its_end():
    queue = ReviewQueue()
    assert queue.current is None and queue.next() is None and queue.previous() is None
    assert queue.decide(Outcome.ACCEPTED) is None and not queue.adjust(start=1)
    assert queue.tally.total == 0


@pytest.mark.parametrize(
    ("reason", "label", "words"),
    [
        ("uncertain", -1, "not sure"),
        ("disagrees with labels", 1, "Labelled, but"),
        ("disagrees with labels", 0, "did not see it"),
        ("rare", -1, "few bouts"),
        ("near a known rare example", -1, "Near a known"),
    ],
)
def test_every_reason_is_explained(reason: str, label: int, words: str):
    item = Candidate("r", "", "walk", 0, 5, 0.5, 0.4, reason, label)
    assert words in item.explanation and "0.50" in item.explanation


steps = st.lists(
    st.one_of(
        st.sampled_from(["accept", "reject", "skip", "next", "previous", "undo"]),
        st.tuples(st.booleans(), st.booleans()),
    ),
    max_size=40,
)


@given(st.integers(0, 8), steps)
def test_whatever_is_pressed_the_counts_add_up(n: int, pressed: list[object]):
    queue = queue_of(n)
    for edit, press in enumerate(pressed):
        if press == "accept":
            queue.decide(Outcome.ACCEPTED, edit)
        elif press == "reject":
            queue.decide(Outcome.REJECTED, edit)
        elif press == "skip":
            queue.decide(Outcome.SKIPPED)
        elif press == "next":
            queue.next()
        elif press == "previous":
            queue.previous()
        elif press == "undo":
            queue.undone({max(queue.edits, default=0)})
        elif isinstance(press, tuple):
            queue.filter(["walk"] if press[0] else (), ["rare"] if press[1] else ())
        tally = queue.tally
        assert 0 <= tally.left <= tally.total <= n
        assert (queue.place > 0) == (queue.current is not None)
        if tally.left and press in ("accept", "reject", "skip"):
            assert queue.outcome is Outcome.OPEN
    queue.filter()
    tally = queue.tally
    assert tally.total == n
    assert len(queue.edits) <= tally.accepted + tally.rejected
