"""The page of convolution from the server's side: what an address may hold, and what the downloads say."""

import numpy as np
import pytest

from dashboard.components.by_hand import Hand


def test_the_first_example_is_the_one_worked_out_on_paper():
    found = Hand().results()
    assert found["map"].tolist() == [[2, 5, 1], [2, 2, 3], [2, 3, 4]]
    assert found["pooled"].tolist() == [[5]]


def test_a_state_comes_back_from_its_text():
    hand = Hand(image=((1, -2.5), (0, 3)), kernel=((0.25,),), stride=2, padding=1, bias=-4, pool="global", at=0)
    assert Hand.read(hand.text) == hand


@pytest.mark.parametrize(
    "text",
    [
        "", "1_2~~1~~1_0_1_0_max", "1_2~3~~1~~1_0_1_0_max_0", "1e9~~1~~1_0_1_0_max_0", "1~~1~~9_0_1_0_max_0",
        "1~~1~~1_0_1_0_sum_0", "~".join(["1"] * 13) + "~~1~~1_0_1_0_max_0", "nan~~1~~1_0_1_0_max_0",
    ],
)  # fmt: skip
def test_a_text_that_is_no_state_is_refused(text: str):
    with pytest.raises(ValueError):
        Hand.read(text)


def test_what_does_not_fit_is_left_out_of_the_download():
    assert set(Hand(image=((1,),)).results()) == {"image", "kernel"}
    assert np.array_equal(Hand(pool="global").results()["pooled"], [[24 / 9]])
