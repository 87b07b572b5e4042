import numpy as np
import polars as pl
import pytest
from screens import profiles_of, reference

from cellfx.profiles.scores.grit import grit, grit_collector, grit_of_perturbations
from cellfx.profiles.similarity.blocks import prepare
from cellfx.profiles.similarity.collecting import collect
from cellfx.profiles.similarity.rules import pair_rule

slow = reference("profiles_scores")


def screen(effect=1.0, seed=0):
    """Eight genes, three guides each in two wells; 10 controls without a gene, each one a perturbation."""
    rng = np.random.default_rng(seed)
    gene, guide = np.repeat(np.arange(8), 6), np.repeat(np.arange(24), 2)
    features = rng.normal(size=(58, 30))
    features[:48] += effect * rng.normal(size=(8, 30))[gene]
    order = rng.permutation(58)
    genes = np.array([*map(str, gene), *[None] * 10], object)[order]
    guides = np.array([*guide, *range(24, 34)])[order]
    return profiles_of(features[order], Gene=genes, Guide=guides), order >= 48


@pytest.mark.parametrize("summary", ["mean", "median"])
def test_agrees_with_the_definition(summary):
    profiles, controls = screen()
    rule = pair_rule(profiles.metadata, ["Metadata_Gene"], ["Metadata_Guide"])
    result = grit(prepare(profiles, "pearson"), rule, controls, summary)
    genes, guides = (profiles.metadata[f"Metadata_{name}"].to_numpy() for name in ("Gene", "Guide"))
    own = np.array([f"none {i}" if gene is None else gene for i, gene in enumerate(genes)])
    known = slow.grit(slow.pearson(profiles.features), own, guides, controls, getattr(np, summary))
    np.testing.assert_allclose(result.grit, known, rtol=1e-10)
    assert np.isnan(result.grit[controls]).all()
    assert result.num_targets.tolist() == np.where(controls, 0, 4).tolist()
    assert result.num_controls.tolist() == np.where(controls, 9, 10).tolist()


def test_pooled_is_that_of_cytominer_eval():
    profiles, controls = screen()
    rule = pair_rule(profiles.metadata, ["Metadata_Gene"], ["Metadata_Guide"])
    result = grit(prepare(profiles, "pearson"), rule, controls)
    genes, guides = (profiles.metadata[f"Metadata_{name}"].to_numpy() for name in ("Gene", "Guide"))
    own = np.array([f"none {i}" if gene is None else gene for i, gene in enumerate(genes)])
    known = slow.pooled_grit(slow.pearson(profiles.features), own, guides, controls)
    ours = grit_of_perturbations(result, guides)
    np.testing.assert_allclose(ours, [known[guide] for guide in range(34)], rtol=1e-10)
    np.testing.assert_array_equal(grit_of_perturbations(result, np.where(guides < 5, guides, -1)), ours[:5])
    np.testing.assert_allclose(grit_of_perturbations(result, np.arange(58)), result.grit, rtol=1e-12)


def test_grit_grows_with_the_effect_and_is_zero_without():
    means = []
    for effect in (0.0, 0.5, 2.0):
        profiles, controls = screen(effect)
        rule = pair_rule(profiles.metadata, ["Metadata_Gene"], ["Metadata_Guide"])
        means.append(np.nanmean(grit(prepare(profiles, "pearson"), rule, controls).grit))
    assert abs(means[0]) < 0.3
    assert means[0] < means[1] < means[2]


def test_blocks_do_not_matter():
    profiles, controls = screen()
    prepared, rule = prepare(profiles), pair_rule(profiles.metadata, ["Metadata_Gene"])
    for summary in ("mean", "median"):
        whole, small = (
            collect(prepared, {"g": grit_collector(prepared, rule, controls, summary)}, block_rows=rows)["g"]
            for rows in (None, 11)
        )
        np.testing.assert_allclose(whole.grit, small.grit, rtol=1e-12)


def test_refused():
    profiles, controls = screen()
    prepared, rule = prepare(profiles), pair_rule(profiles.metadata, ["Metadata_Gene"])
    with pytest.raises(ValueError, match="unknown summary: got 'max', expected one of mean, median"):
        grit(prepared, rule, controls, "max")
    for wrong, got in (
        (controls[:5], r"got bool of shape \(5,\)"),
        (controls.astype(int), r"got int64 of shape \(58,\), 10 true"),
        (np.arange(58) < 2, r"got bool of shape \(58,\), 2 true"),
    ):
        with pytest.raises(ValueError, match=f"controls that make no distribution: {got}"):
            grit(prepared, rule, wrong)
    with pytest.raises(ValueError, match="no row has a target: got 58 rows"):
        grit(prepared, pair_rule(pl.DataFrame({"Metadata_Gene": range(58)}), ["Metadata_Gene"]), controls)
    same = profiles._replace(features=np.where(controls[:, None], profiles.features[:1], profiles.features))
    with pytest.raises(ValueError, match="controls that are all equally similar to a row: got similarities of"):
        grit(prepare(same), rule, controls)
    with pytest.raises(ValueError, match="got summary 'median' of 58 rows"):
        grit_of_perturbations(grit(prepared, rule, controls, "median"), np.arange(58))
    with pytest.raises(ValueError, match=r"perturbations of shape \(3,\), expected 'mean' and \(58,\)"):
        grit_of_perturbations(grit(prepared, rule, controls), np.arange(3))
