"""An ethogram refuses what its files could not tell apart, and survives a round trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import LabelError
from ethoprism.ethogram import Behaviour, Ethogram


@pytest.mark.parametrize("name", ["", " rest", "a|b", "a\nb", "frame", "Label", "time_s"])
def test_names_that_files_could_not_carry_are_refused(name: str):
    with pytest.raises(LabelError):
        Behaviour(name)


def test_two_behaviours_may_not_share_a_column_of_the_csv():
    with pytest.raises(LabelError, match="share a column"):
        Ethogram().with_names(["rest", "p_rest"])


def test_keys_and_names_are_unique():
    with pytest.raises(LabelError, match="one name twice"):
        Ethogram((Behaviour("rest"), Behaviour("rest")))
    with pytest.raises(LabelError, match="one key twice"):
        Ethogram((Behaviour("rest", key="r"), Behaviour("run", key="r")))


def test_exclusive_groups_name_known_behaviours_once():
    ethogram = Ethogram().with_names(["rest", "walk", "groom"])
    with pytest.raises(LabelError, match="lacks"):
        ethogram.with_exclusive(["rest", "fly"])
    with pytest.raises(LabelError, match="twice"):
        ethogram.with_exclusive(["rest", "walk"]).with_exclusive(["walk", "groom"])


_names = st.lists(
    st.text("abcdefgh é=()", min_size=1, max_size=6).map(str.strip).filter(bool),
    min_size=1,
    max_size=5,
    unique=True,
)


@given(_names, st.text(max_size=10), st.sampled_from(["state", "point"]))
def test_an_ethogram_survives_plain_dictionaries(names: list[str], definition: str, kind: str):
    behaviours = tuple(
        Behaviour(n, definition, key=str(i), kind="point" if kind == "point" else "state")
        for i, n in enumerate(names)
    )
    ethogram = Ethogram(behaviours).with_exclusive(names)
    assert Ethogram.from_dict(ethogram.to_dict()) == ethogram


@pytest.mark.parametrize(
    "row", [{"name": "rest", "colour": "red"}, {"name": "rest", "sound": "x"}, {"name": 3}, {}]
)
def test_a_damaged_manifest_is_refused(row: dict[str, object]):
    with pytest.raises(LabelError):
        Ethogram.from_dict({"behaviours": [row]})
