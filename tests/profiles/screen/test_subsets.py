import numpy as np
import polars as pl
import pytest

from cellfx.profiles.screen.subsets import control_similarity, strong_phenotype, top_mechanisms
from cellfx.profiles.tables.table import Profiles


def screen(seed=0):
    """Ten compounds in three wells, the first weakest; they leave the direction of the controls the more."""
    rng = np.random.default_rng(seed)
    compound = np.array([*np.repeat(np.arange(10), 3), *[-1] * 6])
    features = np.array([10.0, 0, 0, 0, 0, 0]) + 0.01 * rng.normal(size=(36, 6))
    features[:30, 1] += compound[:30] + 0.5
    order = rng.permutation(36)
    names = [f"c{i}" if i >= 0 else "DMSO" for i in compound[order]]
    metadata = pl.DataFrame({"Metadata_Compound": names})
    return Profiles(features[order], tuple("abcdef"), metadata), compound[order]


@pytest.mark.parametrize("kernel", ["pearson", "cosine", "euclidean"])
def test_the_strongest_are_those_least_like_the_controls(kernel):
    profiles, compound = screen()
    for settings, least in (({"count": 3}, 7), ({"share": 0.5}, 5), ({"count": 10}, 0)):
        chosen = strong_phenotype(profiles, compound < 0, "Metadata_Compound", kernel=kernel, **settings)
        assert chosen.tolist() == (compound >= least).tolist()


def test_similarity_to_the_median_control():
    profiles, compound = screen()
    median = np.median(profiles.features[compound < 0], axis=0)
    for kernel, known in (
        ("pearson", [np.corrcoef(row, median)[0, 1] for row in profiles.features]),
        ("euclidean", 1 / (1 + np.linalg.norm(profiles.features - median, axis=1))),
    ):
        np.testing.assert_allclose(control_similarity(profiles, compound < 0, kernel), known, rtol=1e-9)


def test_top_mechanisms_count_compounds_not_rows():
    metadata = pl.DataFrame(
        {
            "Metadata_MOA": ["a", "a", "a", "b", "b", None, "c", "c", "c", "d"],
            "Metadata_Compound": [1, 1, 1, 2, 3, 4, 5, 6, 7, 8],
        }
    )
    assert np.flatnonzero(top_mechanisms(metadata, "Metadata_MOA", "Metadata_Compound", 1)).tolist() == [6, 7, 8]
    assert np.flatnonzero(top_mechanisms(metadata, "Metadata_MOA", "Metadata_Compound", 2)).tolist() == [3, 4, 6, 7, 8]
    # a and d have one compound each: the first of them is taken.
    assert np.flatnonzero(top_mechanisms(metadata, "Metadata_MOA", "Metadata_Compound", 3)).tolist() == [
        0, 1, 2, 3, 4, 6, 7, 8,
    ]  # fmt: skip
    everyone = top_mechanisms(metadata, "Metadata_MOA", "Metadata_Compound")
    assert everyone.tolist() == metadata["Metadata_MOA"].is_not_null().to_list()


def test_refused():
    profiles, compound = screen()
    for controls in (np.zeros(36, bool), compound, (compound < 0)[:4]):
        with pytest.raises(ValueError, match="no controls to compare with: got"):
            strong_phenotype(profiles, controls, "Metadata_Compound", 3)
    for settings in ({}, {"count": 3, "share": 0.1}, {"count": 0}, {"count": 11}, {"share": 0.0}, {"share": 1.01}):
        with pytest.raises(
            ValueError, match=r"no number of treatments: got count=.* of 10 treatments, expected either"
        ):
            strong_phenotype(profiles, compound < 0, "Metadata_Compound", **settings)
    with pytest.raises(ValueError, match="no such column of metadata: got 'Metadata_Drug'"):
        strong_phenotype(profiles, compound < 0, "Metadata_Drug", 3)
    with pytest.raises(ValueError, match="got count=0, expected 1 or more"):
        top_mechanisms(profiles.metadata, "Metadata_Compound", "Metadata_Compound", 0)
    controls = compound < 0
    signs = np.where(np.cumsum(controls) % 2, 1.0, -1.0)
    balanced = profiles._replace(features=np.where(controls[:, None], signs[:, None], profiles.features))
    with pytest.raises(ValueError, match="a profile without cosine similarity: got row 36 that is all zeros"):
        strong_phenotype(balanced, controls, "Metadata_Compound", 3, kernel="cosine")
