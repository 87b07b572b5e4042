import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from screens import numbered

from cellfx.profiles.similarity.blocks import KERNELS, just_above, over_blocks, prepare, similarity_blocks

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(37, 11)) * RNG.uniform(0.1, 10, 11) + 3.0


def table(features):
    return numbered(features, pl.DataFrame({"Metadata_Row": range(len(features))}), "feature_")


def expected(kernel, features=FEATURES):
    if kernel == "spearman":
        features = np.stack([rankdata(row) for row in features])
    if kernel == "euclidean":
        return 1 / (1 + cdist(features, features))
    return 1 - cdist(features, features, "cosine" if kernel == "cosine" else "correlation")


def everything(similarity, rows):
    return {"similarity": similarity, "self": jnp.take_along_axis(similarity, rows[:, None], axis=1)[:, 0]}


def scaled(similarity, rows, tree):
    return similarity * tree["factor"], tree["names"][rows]


@pytest.mark.parametrize("block_rows", [None, 1, 5, 37, 100])
@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_equal_scipy(kernel, block_rows):
    reduced = over_blocks(prepare(table(FEATURES), kernel), everything, block_rows=block_rows)
    np.testing.assert_allclose(reduced["similarity"], expected(kernel), rtol=0, atol=1e-13)
    np.testing.assert_allclose(reduced["self"], np.ones(37), rtol=0, atol=1e-13)
    assert reduced["similarity"].dtype == np.float64


def test_spearman_gives_equal_values_their_mean_rank():
    features = RNG.integers(0, 3, (20, 12)).astype(float)
    reduced = over_blocks(prepare(table(features), "spearman"), everything)
    np.testing.assert_allclose(reduced["similarity"], expected("spearman", features), rtol=0, atol=1e-13)


def test_rows_and_operands():
    rows = np.array([30, 2, 2, 17, 36])
    operand = {"factor": np.float64(2.0), "names": np.arange(37) * 10}
    doubled, names = over_blocks(prepare(table(FEATURES)), scaled, operand, rows=rows, block_rows=2)
    np.testing.assert_allclose(doubled, 2 * expected("cosine")[rows], rtol=0, atol=1e-13)
    assert names.tolist() == [300, 20, 20, 170, 360]


def test_similarity_blocks_cover_the_rows_and_leave_types_as_they_were():
    seen = []
    for rows, similarity in similarity_blocks(prepare(table(FEATURES), "pearson"), block_rows=10):
        assert jnp.ones(1).dtype == jnp.float32
        np.testing.assert_allclose(similarity, expected("pearson")[rows], rtol=0, atol=1e-13)
        seen.extend(rows.tolist())
    assert seen == list(range(37))
    assert not jax.config.jax_enable_x64


def test_one_program_for_all_blocks():
    traced = []

    def counting(similarity, rows):
        traced.append(similarity.shape)
        return similarity[:, 0]

    assert over_blocks(prepare(table(FEATURES)), counting, block_rows=10).shape == (37,)
    assert traced == [(10, 37)]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("kernel", ["cosine", "pearson", "spearman"])
def test_correlations_do_not_see_the_scale(kernel, scale):
    reduced = over_blocks(prepare(table(FEATURES * scale), kernel), everything)
    np.testing.assert_allclose(reduced["similarity"], expected(kernel), rtol=0, atol=1e-13)


def test_equal_rows_have_no_distance_and_tie_in_every_kernel():
    features = np.concatenate([FEATURES, FEATURES[:5], 1e3 * FEATURES[:1]])
    for kernel in KERNELS:
        similarity = over_blocks(prepare(table(features), kernel), everything, block_rows=7)["similarity"]
        if kernel == "euclidean":
            np.testing.assert_array_equal(similarity[np.arange(5), np.arange(37, 42)], np.ones(5))
        twins = similarity[:, :5], similarity[:, 37:42]
        for one, other in (twins, twins[::-1]):
            assert np.all(one < just_above(other, kernel))
        assert not np.all(similarity < just_above(similarity[:, ::-1], kernel))


def test_the_memory_of_a_block_does_not_grow_with_the_square(monkeypatch):
    from cellfx.profiles.similarity import blocks

    shapes = []

    def noting(block, rows):
        shapes.append(block.shape)
        return jnp.max(block, axis=1)

    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 370)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 1)
    ready = prepare(table(FEATURES))
    over_blocks(ready, noting)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 12)
    monkeypatch.setattr(blocks, "MOST_ROWS", 12)
    over_blocks(ready, noting)
    assert shapes == [(10, 37), (12, 37)]


def test_bad_input():
    with pytest.raises(ValueError, match="unknown kernel: got 'manhattan', expected one of cosine, pearson"):
        prepare(table(FEATURES), "manhattan")
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=rf"nothing to compare: got features of shape \({shape[0]}, {shape[1]}\)"):
            prepare(table(np.zeros(shape)))
    for value in (np.nan, np.inf, -np.inf):
        features = FEATURES.copy()
        features[[4, 6], 9] = value
        with pytest.raises(
            ValueError, match=rf"got 2 of 407 values, the first {value} in feature 'feature_9' of row 4, ex"
        ):
            prepare(table(features))
    features = FEATURES.copy()
    features[[7, 9]] = 0.0
    with pytest.raises(ValueError, match=r"got row 7 that is all zeros, first value 0.0 \(2 such rows\), expected"):
        prepare(table(features), "cosine")
    features[[7, 9]] = 0.1
    for kernel in ("pearson", "spearman"):
        with pytest.raises(
            ValueError, match=rf"without {kernel} similarity: got row 7 that is constant, first value 0.1"
        ):
            prepare(table(features), kernel)
    features[7] += 1e-15 * FEATURES[7]
    with pytest.raises(ValueError, match="got row 7 that is constant"):
        prepare(table(features), "pearson")
    for kernel in ("cosine", "euclidean"):
        prepare(table(features), kernel)
    ready = prepare(table(FEATURES))
    for rows in ([], [-1], [0, 37]):
        with pytest.raises(
            ValueError, match=rf"got \[{', '.join(map(str, rows))}\] of 37 rows, expected numbers from 0"
        ):
            over_blocks(ready, everything, rows=np.array(rows, int))
