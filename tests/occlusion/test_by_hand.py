"""Occlusion experiments whose answers fit in the test."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnviz import Channel, Class, Model
from cnnviz.errors import Cancelled, CnnvizError
from cnnviz.occlusion import FILLS, occlude, occlude_progressively


class Weighted(nn.Module):
    """Class 0 is the weighted sum of the pixels; class 1 always scores 1."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        total = (x * self.weights).flatten(1).sum(1)
        return torch.stack([total, torch.ones_like(total)], 1)


def summing(*size: int) -> Model:
    return Model(Weighted(torch.ones(size)), size)


RAMP = torch.arange(25.0).view(1, 5, 5)


def test_the_ramp_by_hand():
    sweep = occlude(summing(1, 5, 5), RAMP, Class(0), 2, 2, "black")
    assert sweep.drop.tolist() == [[12, 20, 13], [52, 60, 33], [41, 45, 24]]
    assert sweep.clean_score == 300
    assert sweep.rows == ((0, 2), (2, 4), (4, 5))
    assert sweep.box(2, 1) == (4, 2, 5, 4)


def test_a_pixel_is_the_mean_over_the_windows_that_cover_it():
    sweep = occlude(summing(1, 5, 5), RAMP, Class(0), 3, 2, "black")
    heat = sweep.heatmap()
    assert heat.shape == (5, 5)
    assert heat[0, 0] == sweep.drop[0, 0]
    assert heat[2, 2] == sweep.drop.mean()
    assert heat[0, 2] == sweep.drop[0].mean()


def test_a_linear_network_drops_by_exactly_what_the_window_hid():
    weights = torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(0))
    image = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(1))
    sweep = occlude(Model(Weighted(weights), (2, 6, 7)), image, Class(0), (3, 2), (2, 1), "black")
    for row, (top, bottom) in enumerate(sweep.rows):
        for column, (left, right) in enumerate(sweep.columns):
            hidden = (weights * image)[:, top:bottom, left:right].sum()
            assert sweep.drop[row, column] == pytest.approx(float(hidden), abs=1e-5)


def test_a_constant_network_shows_nothing():
    sweep = occlude(summing(1, 5, 5), RAMP, Class(1), 2, 1, "white")
    assert not sweep.drop.any()
    assert not sweep.heatmap().any()


def test_an_image_moved_with_its_windows_gives_the_map_moved():
    image = torch.zeros(1, 12, 12)
    image[:, 2:5, 3:6] = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0))
    moved = image.roll((3, 3), (1, 2))
    here, there = (occlude(summing(1, 12, 12), x, Class(0), 3, 3, "black").drop for x in (image, moved))
    np.testing.assert_array_equal(here[:-1, :-1], there[1:, 1:])


def test_every_pixel_is_covered_whatever_the_sizes():
    for image, window, stride in (((5, 9), (2, 4), (2, 3)), ((7, 7), (7, 7), (1, 1)), ((6, 5), (1, 1), (1, 1))):
        for sweep in occlude_progressively(summing(1, *image), torch.rand(1, *image), 0, window, stride):
            assert np.isfinite(sweep.heatmap()).all()
            assert sweep.rows[-1][1] == image[0]
            assert sweep.columns[-1][1] == image[1]


def test_the_last_coarse_to_fine_sweep_is_the_sweep_itself():
    sweeps = list(occlude_progressively(summing(1, 5, 5), RAMP, Class(0), 4, 1, "black"))
    assert [s.stride for s in sweeps] == [(1, 1)] or len(sweeps) > 1
    np.testing.assert_array_equal(sweeps[-1].score, occlude(summing(1, 5, 5), RAMP, Class(0), 4, 1, "black").score)


def test_a_coarse_sweep_has_the_same_numbers_at_its_places():
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    first, *_, last = occlude_progressively(summing(1, 16, 16), image, Class(0), 4, 1, "black")
    assert first.stride == (4, 4)
    np.testing.assert_array_equal(first.score, last.score[::4, ::4])


def test_windows_that_do_not_fit_and_strides_that_leave_gaps_are_refused():
    with pytest.raises(CnnvizError, match="more than the image's 5"):
        occlude(summing(1, 5, 5), RAMP, Class(0), (6, 2))
    with pytest.raises(CnnvizError, match="more than the window's 2"):
        occlude(summing(1, 5, 5), RAMP, Class(0), 2, 3)
    with pytest.raises(CnnvizError, match="whole number"):
        occlude(summing(1, 5, 5), RAMP, Class(0), 0)


def test_unknown_words_are_refused_with_the_known_ones():
    for wrong in ({"fill": "pink"}, {"engine": "magic"}, {"precision": "rough"}):
        with pytest.raises(CnnvizError, match="choose one of"):
            occlude(summing(1, 5, 5), RAMP, Class(0), 2, 2, **wrong)


def test_fills_are_colours_in_pixel_space():
    model = Model(Weighted(torch.ones(3, 4, 4)), (3, 4, 4), mean=(0.2, 0.4, 0.6), std=(0.5, 0.5, 0.5))
    image = torch.rand(3, 4, 4)
    expected = {"black": 0.0, "grey": 0.5, "white": 1.0}
    for name, value in expected.items():
        assert FILLS[name].picture(model, image, (2, 2), 0).unique().tolist() == [value]
    assert FILLS["mean"].picture(model, image, (2, 2), 0)[:, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])


def test_the_mean_of_a_network_that_does_not_normalise_is_that_of_the_image():
    assert FILLS["mean"].picture(summing(1, 5, 5), RAMP, (2, 2), 0).unique().tolist() == [12]


def test_a_blurred_constant_is_that_constant_and_noise_depends_on_its_seed_alone():
    image = torch.full((1, 6, 7), 0.3)
    model = summing(1, 6, 7)
    assert FILLS["blur"].picture(model, image, (3, 5), 0).numpy() == pytest.approx(0.3, abs=1e-6)
    first, again, other = (FILLS["noise"].picture(model, image, (3, 5), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_another_image_can_be_the_fill():
    other = torch.full((1, 5, 5), 2.0)
    sweep = occlude(summing(1, 5, 5), RAMP, Class(0), 5, 5, other)
    assert sweep.score.tolist() == [[50.0]]
    with pytest.raises(CnnvizError, match="as large as"):
        occlude(summing(1, 5, 5), RAMP, Class(0), 5, 5, other[:, :3])


def test_probability_and_label_come_with_every_class():
    sweep = occlude(summing(1, 5, 5), RAMP / 300, Class(0), 5, 5, "black")
    assert sweep.probability == pytest.approx(1 / (1 + np.e))
    assert sweep.label.tolist() == [[1]]


def test_the_total_of_a_feature_map_is_a_target_like_any_other():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(50, 2))
    model = Model(network, (1, 5, 5))
    by_class, total = occlude(model, RAMP, [Class(1), Channel("0", 1, reduce="sum")], 2, 2, "black")
    weight, bias = network[0].weight[1].item(), network[0].bias[1].item()
    assert total.clean_score == pytest.approx(300 * weight + 25 * bias, rel=1e-5)
    assert total.drop[0, 0] == pytest.approx(12 * weight, rel=1e-3)
    assert total.probability is None
    np.testing.assert_array_equal(by_class.label, total.label)


def test_a_sweep_stops_when_its_caller_asks():
    with pytest.raises(Cancelled):
        occlude(summing(1, 5, 5), RAMP, Class(0), 2, 1, cancelled=lambda: True)


def test_progress_counts_every_window_once():
    seen: list[tuple[int, int]] = []
    list(occlude_progressively(summing(1, 9, 9), torch.rand(1, 9, 9), 0, 4, 1, progress=lambda *n: seen.append(n)))
    assert seen[-1] == (36, 36)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_the_image_that_was_given_is_never_written_to():
    image = torch.rand(1, 5, 5)
    before = image.clone()
    occlude(summing(1, 5, 5), image, Class(0), 5, 5, "white")  # one window: a batch of one may share its memory
    assert torch.equal(image, before)
