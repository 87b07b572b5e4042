"""What is asked of profiles: do replicates find each other, do mechanisms, and does the batch show.

Wells (level 4) and treatments (level 5) are each scored by one call of ``profiles.screen.score.score``. Beside it
stands the mean average precision of replicates as JUMP publishes it: against the negative controls of the same plate.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.screen import score as library
from cellfx.profiles.screen import subsets
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import HEADLINE, Effort, Scores
from cellfx.profiles.similarity.blocks import check_telling
from cellfx.profiles.similarity.rules import encode
from cellfx.profiles.tables import plate_identity
from cellfx.profiles.tables.table import Profiles, take
from cellfx.screens import batches, positions, score_tables
from cellfx.screens import doses as profile_doses
from cellfx.screens.numbers import interval_of, number_of, numbers_of, retrieved
from cellfx.screens.setting import Asked

OF_REPLICATES = ("replicates", "percent replicating", "reproducibility")
OF_WELLS = ("grit", "mp-values", "NSCB", "batch enrichment")
OF_TREATMENTS = ("retrieval", "enrichment", "NSC", "percent matching")
HEADLINES = (
    *("mAP of replicates", "fraction retrieved", "percent replicating"),
    *(f"enrichment@{HEADLINE:g}", "precision@R", "NSC", batches.NSCB, "batch enrichment"),
)
"""The scores that variants are compared by."""
OWN = "mAP: "
"""Before the name of an own rule of pairs, see ``screens.pairs``."""
BY_CONTROLS, BY_TREATMENTS = "mAP of replicates", "replicate average precision"
JUDGED_BY_CONTROLS = ("fraction retrieved", BY_CONTROLS, profile_doses.NAME, "batch enrichment")
"""Scores that say less where the controls are those that a step was fitted on."""
OF_SUBSETS = (f"enrichment@{HEADLINE:g}", "hits above chance")
"""Computed on a subset itself; ``MEANS`` on all treatments and averaged over the subset: Bornholdt 2021, 4.6.2."""
MEANS = ("precision@R", "average precision", "NSC")
NO_SCORES = Scores({}, {}, {}, {}, {}, {})


class Variant(NamedTuple):
    """What became of the wells on one way.

    Attributes:
        name: as the config calls it.
        wells: N wells, normalized (level 4); controls that only fit are not among them.
        controls: (N,) bool, negative controls.
        treated: one row for each treatment that is compared, without controls (level 5).
        by_batch: the same of each batch by itself; None where there are no two batches.
        dropped: features that its steps left out -> why.
        on_controls: whether a step was fitted on the controls that scores compare with.
    """

    name: str
    wells: Profiles
    controls: np.ndarray
    treated: Profiles
    by_batch: Profiles | None = None
    dropped: Mapping[str, str] = MappingProxyType({})
    on_controls: bool = False


def check(variant: Variant, question: Asked) -> None:
    """Looks whether profiles can be compared at all, before anything is scored.

    Raises:
        ValueError: as ``similarity.check_telling``.
    """
    for rows in (variant.wells, variant.treated):
        check_telling(rows, question.similarity)


class Subsets(NamedTuple):
    """Subsets of T treatments, the same for all variants.

    Attributes:
        chosen: name -> (T,) bool.
        left_out: name -> why there is none.
    """

    chosen: Mapping[str, np.ndarray]
    left_out: Mapping[str, str]


def find_subsets(variant: Variant, columns: Columns, question: Asked) -> Subsets:
    """Treatments with a strong phenotype, those of the largest mechanisms, and all others of each.

    Bornholdt 2021, section 4.6.1: the treatments whose profiles correlate least with the median profile of the
    controls, and the mechanisms with most compounds. All variants are compared on subsets of one of them.

    Args:
        variant: whose profiles say how strong a phenotype is; the thesis takes spherized ones.
        columns: of the metadata.
        question: how large subsets are.

    Returns:
        None chosen without a column of mechanisms, which all scores of subsets need.
    """
    treated, controls = variant.treated, take(variant.wells, variant.controls)
    chosen, left_out = {}, {}
    if columns.mechanism is None:
        return Subsets({}, {"subsets": library.NO_MECHANISMS})
    features = np.concatenate([treated.features, controls.features])
    number = np.arange(len(features))
    both = Profiles(features, treated.names, pl.DataFrame({"treatment": number}))
    is_control = number >= len(treated.features)
    # None where the median profile of the controls has no direction, or for a single treatment.
    find = functools.partial(subsets.strong_phenotype, share=question.strong_rate)
    strong = library.attempt(left_out, "strong phenotype", find, both, is_control, "treatment")
    if strong is not None:
        chosen.update({"strong phenotype": strong[~is_control], "weak phenotype": ~strong[~is_control]})
    count, mechanisms = question.num_top_mechanisms, treated.metadata[columns.mechanism].drop_nulls().n_unique()
    top = subsets.top_mechanisms(treated.metadata, columns.mechanism, columns.compound, count)
    if mechanisms > count:
        known = treated.metadata[columns.mechanism].is_not_null().to_numpy()
        chosen.update({f"top {count} mechanisms": top, "other mechanisms": known & ~top})
    else:
        left_out[f"top {count} mechanisms"] = f"they are all: got {mechanisms}, expected more than {count}"
    empty = [name for name, rows in chosen.items() if not rows.any()]
    left_out |= dict.fromkeys(empty, "no treatment is left: got 0, expected 1 or more")
    return Subsets({name: rows for name, rows in chosen.items() if rows.any()}, left_out)


def score(
    variant: Variant, columns: Columns, question: Asked | None = None, parts: Subsets | None = None
) -> dict[str, Any]:
    """All scores of a variant, as far as its metadata allows.

    Args:
        variant: wells and treatments.
        columns: what is known of them.
        question: what is asked.
        parts: subsets of the treatments, to be scored too; none by default.

    Returns:
        ``num_treatments``; ``fitted_on_controls``, as ``Variant.on_controls``; ``scores`` name -> ``level`` and
        ``value``, with ``interval`` (95 %) and ``p_value`` of those that have them; ``left_out`` name -> reason;
        ``replicates`` by treatment; ``curves``, ``confusion`` and ``batches``, where they could be computed;
        ``subsets`` name -> ``num_treatments`` and ``scores``; ``tables``, see ``screens.score_tables.make``.
    """
    question, parts = question or Asked(), parts or Subsets({}, {})
    effort, left_out = _within(question.effort, len(variant.treated.features))
    wells = OF_REPLICATES + OF_WELLS if question.replicates else OF_WELLS
    of_wells = library.score(variant.wells, variant.controls, columns, question.similarity, question.effort, wells)
    treated = columns._replace(batch=None)
    of_treatments = library.score(variant.treated, None, treated, question.similarity, effort, OF_TREATMENTS)
    elsewhere = variant.by_batch, columns, question
    across = library.attempt(left_out, batches.NSCB, batches.score, *elsewhere) or NO_SCORES
    by_treatment, published, by_controls = None, {}, None
    if question.replicates and not variant.controls.any():
        left_out["fraction retrieved"] = library.NO_CONTROLS
    elif question.replicates:
        of_replicates = library.attempt(left_out, "fraction retrieved", replicates, variant, columns, question)
        by_treatment, published, by_controls = of_replicates or (None, {}, None)
    else:
        left_out["replicates"] = "not asked for: got scores.replicates False, expected True; switch it on"
    if question.replicates and columns.well is not None:
        known = variant.wells, variant.controls, columns, question.similarity, question.effort
        name = positions.NAME
        published |= library.attempt(left_out, name, positions.score, *known) or {}
    numbers = numbers_of(of_treatments, "treatments")
    found = {
        "num_treatments": len(variant.treated.features),
        "fitted_on_controls": variant.on_controls,
        "scores": published | numbers_of(of_wells, "wells") | numbers | numbers_of(across, "treatments"),
        "left_out": left_out | of_wells.left_out | of_treatments.left_out | across.left_out | parts.left_out,
        "replicates": by_treatment,
        **_details(of_wells, of_treatments, effort),
        "subsets": {},
        "tables": score_tables.make(
            *variant[1:5], columns, score_tables.Found(of_wells, of_treatments, by_controls, across)
        ),
    }
    for name, rows in parts.chosen.items():
        itself, found["subsets"][name] = _of_subset(variant.treated, of_treatments, rows, treated, question)
        found["left_out"] |= {f"{part} of {name}": reason for part, reason in itself.left_out.items()}
    return found


def _within(effort: Effort, num_rows: int) -> tuple[Effort, dict[str, str]]:
    """An effort with the k that so many treatments have, and what is left out for it."""
    left_out = {
        f"precision@{k}, recall@{k}": f"fewer neighbors than k: got {num_rows} treatments, expected more than {k}"
        for k in effort.ks
        if k >= num_rows
    }
    return effort._replace(ks=tuple(k for k in effort.ks if k < num_rows)), left_out


def replicates(
    variant: Variant, columns: Columns, question: Asked
) -> tuple[dict[str, Any], dict[str, Any], score_tables.ByControls]:
    """Mean average precision of every treatment's wells against the controls of the same plate, and its scores."""
    wells, controls, plate = variant.wells, pl.Series(variant.controls), columns.plate_identity()
    treatment = [pl.when(~controls).then(pl.col(name)).alias(name) for name in columns.treatment]
    # A missing plate is None, which shares a plate with nothing.
    plates = pl.Series([None if code < 0 else code for code in plate_identity.codes(wells.metadata, plate)], dtype=int)
    marked = wells.metadata.with_columns(*treatment, cellfx_control=controls, cellfx_plate=plates)
    marked = wells._replace(metadata=marked)
    rules, kernel = ([*columns.treatment], [], ["cellfx_plate"], ["cellfx_control"]), question.similarity
    precision = average_precision(marked, *rules, similarity=kernel, ties=question.effort.ties)
    names = ("fraction retrieved", BY_CONTROLS)
    by_treatment, found, mean = retrieved(precision, marked.metadata, columns.treatment, columns, question, names)
    doses = profile_doses.correct(mean, wells.metadata, columns)
    if doses is not None:
        share, p_simes = doses.retrieved.astype(float), float(doses.hierarchy.corrected_families.min())
        interval = interval_of(share, np.arange(len(share)), question.effort)
        found[profile_doses.NAME] = number_of("wells", share.mean(), interval, p_simes)
    return by_treatment, found, score_tables.ByControls(precision, mean, doses)


def _details(of_wells: Scores, of_treatments: Scores, effort: Effort) -> dict[str, Any]:
    """What figures show; a curve that could not be computed is missing."""
    curves, details = {}, of_treatments.details
    if "enrichment" in details:
        curves["percentiles"] = [one.percentile for one in details["enrichment"]]
        curves["odds_ratio"] = [one.odds_ratio for one in details["enrichment"]]
        curves["log10_p"] = [one.log10_p for one in details["enrichment"]]
    ks = [k for k in effort.ks if f"precision@{k}" in of_treatments.numbers]  # none where no treatment has a partner
    if "curve" in details and ks:
        curves["k"] = ks
        for kind in ("precision", "recall"):
            curves[f"{kind}_at_k"] = [of_treatments.numbers[f"{kind}@{k}"] for k in ks]
        curves["hit_shares"], curves["hit_gain"] = details["curve"].shares, details["curve"].gain
    found = {"curves": curves}
    if "NSC" in details:
        found["confusion"] = {"mechanisms": details["NSC"].mechanisms, "counts": details["NSC"].confusion}
    if "batch_enrichment" in of_wells.details:
        bias = of_wells.details["batch_enrichment"]
        found["batches"] = {"odds_ratio": bias.odds_ratio, "log10_p": bias.log10_p}
    return found


def _of_subset(
    treated: Profiles, scores: Scores, rows: np.ndarray, columns: Columns, question: Asked
) -> tuple[Scores, dict[str, Any]]:
    """Global scores of the subset itself, and the means of those of its rows among all."""
    effort = question.effort._replace(ks=(), percentiles=())
    itself = library.score(take(treated, rows), None, columns, question.similarity, effort, ("retrieval", "enrichment"))
    found = {name: number for name, number in numbers_of(itself, "treatments").items() if name in OF_SUBSETS}
    mechanisms, means = encode(treated.metadata, [columns.mechanism]), library.subset_means(scores, rows)
    for name in [name for name in MEANS if name in means]:
        has = rows & ~np.isnan(scores.per_row[name])
        found[name] = number_of(
            "treatments", means[name], interval_of(scores.per_row[name][has], mechanisms[has], effort)
        )
    return itself, {"num_treatments": int(rows.sum()), "scores": found}


def headline(scores: Mapping[str, Any]) -> dict[str, float]:
    """The few numbers that variants are compared by; without controls, replicates among other treatments."""
    found = scores["scores"]
    names = HEADLINES if BY_CONTROLS in found else (BY_TREATMENTS, *HEADLINES)
    own = [name for name in found if name.startswith(OWN)]
    return {name: found[name]["value"] for name in (*names, *own) if name in found}


def plain(value: Any) -> Any:
    """The same as lists, dictionaries and numbers, for JSON; NaN becomes None, and infinity the text "inf"."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None if np.isnan(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value
