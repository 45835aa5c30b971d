"""PCA against the singular values, t-SNE against what it promises, figures of quality against scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.manifold import trustworthiness as second_opinion

from cnnviz import embedding
from cnnviz import tsne_engine as tsne
from cnnviz.embedding import EmbeddingError

SHORT = tsne.Schedule(early=60, late=60)
LONGER = tsne.Schedule(early=150, late=200)


@pytest.fixture(scope="module")
def digits():
    vectors, labels = load_digits(return_X_y=True)
    return vectors[:800].astype(np.float32), labels[:800]


def blobs(n=60):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(5 * c, 1, (n, 8)) for c in range(3)]).astype(np.float32), np.repeat([0, 1, 2], n)


def test_pca_equals_scikit_learn_up_to_sign(digits):
    ours, theirs = embedding.pca(digits[0], 3), PCA(3, svd_solver="full").fit(digits[0])
    points = theirs.transform(digits[0])
    signs = np.sign((ours.points * points).sum(0))
    assert np.linalg.norm(ours.points - points * signs) / np.linalg.norm(points) < 1e-4
    assert np.allclose(ours.quality["explained_variance"][:3], theirs.explained_variance_ratio_, rtol=1e-4)
    assert ours.quality["explained_variance"].sum() <= 1 + 1e-6


def test_pca_of_fewer_vectors_than_numbers_equals_scikit_learn():
    wide = np.random.default_rng(0).normal(size=(12, 200)).astype(np.float32)
    ours, theirs = embedding.pca(wide, 2).points, PCA(2, svd_solver="full").fit_transform(wide)
    assert np.linalg.norm(np.abs(ours) - np.abs(theirs)) / np.linalg.norm(theirs) < 1e-4


def test_a_shift_of_all_vectors_does_not_move_the_picture(digits):
    moved = embedding.pca(digits[0] + 100).points
    still = embedding.pca(digits[0]).points
    assert np.linalg.norm(moved - still) / np.linalg.norm(still) < 1e-3


def test_the_largest_loading_of_each_component_is_positive(digits):
    components = embedding.pca(digits[0], 3).components
    assert all(row[np.abs(row).argmax()] > 0 for row in components)


def test_pca_places_the_vectors_it_knows_exactly_where_they_are(digits):
    for scale in ("none", "z-score", "l2"):
        found = embedding.pca(digits[0], scale=scale)
        assert np.allclose(found.transform(digits[0][:5]), found.points[:5], rtol=1e-3, atol=1e-3), scale


def test_z_score_leaves_out_features_that_never_vary(digits):
    assert "never vary" in embedding.pca(digits[0], scale="z-score").notes[0]


def test_three_blobs_stay_apart_and_the_same_seed_gives_the_same_picture():
    vectors, labels = blobs()
    first, second = (embedding.tsne(vectors, schedule=LONGER, perplexity=10).points for _ in range(2))
    assert np.array_equal(first, second)
    assert embedding.neighbour_accuracy(first, labels) >= 0.99


def test_the_grid_gives_the_repulsion_of_all_pairs():
    points = 30 * np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    tensor = tsne.torch.from_numpy(points)
    exact, normaliser = tsne._repulsion_of_all_pairs(tensor)
    fast, approximate = tsne._repulsion_on_a_grid(tensor, 1000)
    assert float((fast - exact).norm() / exact.norm()) < 6e-2  # three nodes in an interval of 1
    assert float((approximate / normaliser - 1).abs()) < 1e-2


def test_t_sne_keeps_as_many_neighbours_as_scikit_learn(digits):
    vectors, labels = digits
    ours = embedding.tsne(vectors, schedule=tsne.Schedule(150, 150)).points
    theirs = TSNE(perplexity=30, max_iter=500, random_state=0).fit_transform(vectors)
    kept = [embedding.neighbours_kept(vectors, points) for points in (ours, theirs)]
    assert kept[0] > kept[1] - 0.02
    accuracy = [embedding.neighbour_accuracy(points, labels) for points in (ours, theirs)]
    assert accuracy[0] > accuracy[1] - 0.02


def test_adding_a_drawing_moves_nobody_and_lands_among_its_own():
    vectors, labels = blobs()
    found = embedding.tsne(vectors, schedule=SHORT, perplexity=10)
    before = found.points.copy()
    new = found.transform(vectors[labels == 1][:4] + 0.1)
    assert np.array_equal(found.points, before)
    nearest = [labels[np.linalg.norm(found.points - p, axis=1).argmin()] for p in new]
    assert nearest == [1, 1, 1, 1]


def test_three_dimensions_work_for_both():
    vectors, _ = blobs()
    assert embedding.pca(vectors, 3).points.shape == (180, 3)
    assert embedding.tsne(vectors, 3, 10, schedule=SHORT).points.shape == (180, 3)


def test_frames_come_while_it_forms_and_the_last_one_tells_its_divergence():
    frames = list(embedding.tsne_frames(blobs()[0], perplexity=10, schedule=SHORT, every=20))
    assert [f.quality["iteration"] for f in frames] == [20, 40, 60, 80, 100, 120]
    assert "kl" not in frames[0].quality and frames[-1].quality["kl"] > 0


@pytest.mark.parametrize("n", range(1, 6))
def test_a_handful_of_points_gives_a_picture_and_a_note(n):
    vectors = np.random.default_rng(0).normal(size=(n, 8))
    found = embedding.tsne(vectors, perplexity=30, schedule=SHORT)
    assert found.points.shape == (n, 2) and np.isfinite(found.points).all() and found.notes
    assert embedding.pca(vectors, 3).points.shape == (n, 3)


def test_vectors_that_are_all_equal_are_said_to_be():
    for found in (embedding.pca(np.ones((20, 4))), embedding.tsne(np.ones((20, 4)), schedule=SHORT)):
        assert np.isfinite(found.points).all()
        assert "all vectors are equal" in " ".join(found.notes)


def test_vectors_with_nan_are_counted_and_refused():
    vectors = np.ones((5, 3))
    vectors[2, 1] = np.nan
    with pytest.raises(EmbeddingError, match="1 of 5 vectors"):
        embedding.pca(vectors)
    with pytest.raises(EmbeddingError, match="must be a table"):
        embedding.tsne(np.ones(5))


def test_trustworthiness_equals_scikit_learns(digits):
    # pixels are whole numbers, so many distances tie; noise breaks the ties that each of us breaks in our own way
    vectors = digits[0] + np.random.default_rng(0).normal(size=digits[0].shape).astype(np.float32) / 10
    points = embedding.pca(vectors).points
    ours = embedding.trustworthiness(vectors, points)
    assert ours == pytest.approx(second_opinion(vectors, points, n_neighbors=10), abs=1e-5)


def test_alignment_undoes_a_turn_a_mirror_and_a_scale():
    points = np.random.default_rng(0).normal(size=(30, 2))
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])
    assert np.allclose(embedding.aligned(3 * points @ turn + 7, points), points, atol=1e-5)
