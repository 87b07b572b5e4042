"""What is asked of profiles: do replicates find each other, do mechanisms, and does the batch show."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.average_precision import average_precision
from cellfx.profiles.collecting import collect
from cellfx.profiles.enrichment import batch_enrichment, enriched
from cellfx.profiles.hit_curve import hit_curve
from cellfx.profiles.mean_average_precision import mean_average_precision
from cellfx.profiles.nearest import Exclusion, judge_neighbours, neighbours_collector
from cellfx.profiles.pairs import encode, pair_rule
from cellfx.profiles.replicates import replicating
from cellfx.profiles.resampling import bootstrap_interval
from cellfx.profiles.retrieval import at_k, at_r, hits_collector, macro_mean
from cellfx.profiles.similarity import prepare
from cellfx.profiles.table import Profiles, take
from cellfx.profiles.tail import Wanted, tail_collector

PERCENTILES = (0.97, 0.975, 0.98, 0.985, 0.99, 0.995)
"""Of all similarities; Bornholdt 2021 draws these and reports the last."""
NEAREST = (1, 5, 10, 20, 50)


class Columns(NamedTuple):
    """What metadata columns are called; the config section ``columns``.

    Attributes:
        treatment: what replicates share: the compound, where doses differ also the dose.
        compound: what all doses of it share.
        mechanism: of action; None where none is known.
        plate: barcode or number of a plate.
        well: such as B07; None where it is not known.
        batch: what was done together; None where there is one batch.
        dose: a number; None where every compound has one.
    """

    treatment: tuple[str, ...]
    compound: str
    mechanism: str | None = None
    plate: str = "Metadata_Plate"
    well: str | None = "Metadata_Well"
    batch: str | None = None
    dose: str | None = None

    def described(self) -> list[str]:
        """The columns that belong to a treatment."""
        return list(dict.fromkeys([*self.treatment, self.compound, *filter(None, (self.mechanism, self.dose))]))


class Variant(NamedTuple):
    """What became of the wells on one way.

    Attributes:
        name: as the config calls it.
        wells: N wells, normalised (level 4).
        controls: (N,) bool, negative controls.
        treated: one row for each treatment that is compared, without controls (level 5).
    """

    name: str
    wells: Profiles
    controls: np.ndarray
    treated: Profiles


def score(variant: Variant, columns: Columns, similarity: str = "cosine", replicates: bool = True) -> dict[str, Any]:
    """All scores of a variant, as far as its metadata allows.

    Args:
        variant: wells and treatments.
        columns: what is known of them.
        similarity: kernel, see ``similarity.KERNELS``.
        replicates: whether treatments have several wells, to be scored against negative controls.

    Returns:
        ``replicates`` of wells against negative controls of their plate, ``mechanisms`` among treatments where a
        mechanism is known, ``batches`` among the controls where there is more than one.
    """
    wells, controls = variant.wells, variant.controls
    found = {"replicates": _replicates(wells, controls, columns, similarity)} if replicates else {}
    if columns.mechanism is not None:
        found["mechanisms"] = _mechanisms(variant.treated, columns, similarity)
    if columns.batch is not None and wells.metadata[columns.batch].n_unique() > 1:
        bias = batch_enrichment(wells, controls, columns.batch, (0.995,), "pearson")[0]
        found["batches"] = {"enrichment": bias.odds_ratio, "log10_p": bias.log10_p}
    return found


def _replicates(wells: Profiles, controls: np.ndarray, columns: Columns, similarity: str) -> dict[str, Any]:
    """Mean average precision of every treatment's wells against the controls of the same plate."""
    marked = wells.metadata.with_columns(cellfx_control=pl.Series(controls))
    treatment = [pl.when(~pl.Series(controls)).then(pl.col(name)).alias(name) for name in columns.treatment]
    marked = wells._replace(metadata=marked.with_columns(treatment))
    precision = average_precision(
        marked, [*columns.treatment], [], [columns.plate], ["cellfx_control"], similarity=similarity
    )
    mean = mean_average_precision(precision, marked.metadata, columns.treatment)
    code = encode(marked.metadata, columns.treatment)
    rows = take(wells, code >= 0)
    percent = replicating(prepare(rows, "pearson"), code[code >= 0])
    return {
        "groups": mean.groups.to_dict(as_series=False),
        "mean_average_precision": mean.mean_average_precision,
        "corrected_p_value": mean.corrected_p_value,
        "fraction_retrieved": mean.fraction_retrieved,
        "map": float(mean.mean_average_precision.mean()),
        "map_interval": _interval(mean.mean_average_precision),
        "percent_replicating": percent.replicating_rate,
        "num_treatments": len(mean.groups),
    }


def _mechanisms(treated: Profiles, columns: Columns, similarity: str) -> dict[str, Any]:
    prepared = prepare(treated, similarity)
    same = pair_rule(treated.metadata, sameby=[columns.mechanism], diffby=[columns.compound])
    others = pair_rule(treated.metadata, diffby=[columns.compound])
    exclusion = Exclusion(columns.mechanism, columns.compound)
    collectors = {
        "hits": hits_collector(prepared, same, others),
        "tail": tail_collector(prepared, same, Wanted(PERCENTILES), others),
        "near": neighbours_collector(prepared, treated.metadata, exclusion),
    }
    found = collect(prepared, collectors)
    enrichment = [enriched(found["tail"], percentile) for percentile in PERCENTILES]
    judged = judge_neighbours(found["near"], treated.metadata, exclusion)
    precision_at_r = at_r(found["hits"])
    curve = hit_curve(found["hits"])
    ks = [k for k in NEAREST if k < len(treated.features)]
    pairs = [at_k(found["hits"], k) for k in ks]
    return {
        "num_treatments": len(treated.features),
        "percentiles": PERCENTILES,
        "odds_ratio": [each.odds_ratio for each in enrichment],
        "log10_p": [each.log10_p for each in enrichment],
        "precision_at_r": macro_mean(precision_at_r),
        "precision_at_r_interval": _interval(precision_at_r[~np.isnan(precision_at_r)]),
        "k": ks,
        "precision_at_k": [macro_mean(precision) for precision, _ in pairs],
        "recall_at_k": [macro_mean(recall) for _, recall in pairs],
        "hit_shares": curve.shares,
        "hit_gain": curve.gain,
        "hit_area": curve.area,
        "not_same_compound": judged.accuracy,
        "not_same_compound_balanced": judged.balanced_accuracy,
        "mechanisms": judged.mechanisms,
        "confusion": judged.confusion,
        "num_unreachable": judged.num_unreachable,
    }


def _interval(values: np.ndarray) -> tuple[float, float]:
    found = bootstrap_interval(values, np.arange(len(values)))
    return float(found.low), float(found.high)


def headline(scores: Mapping[str, Any]) -> dict[str, float]:
    """The few numbers that variants are compared by."""
    found = {}
    if "replicates" in scores:
        found |= {
            "fraction retrieved": scores["replicates"]["fraction_retrieved"],
            "mAP of replicates": scores["replicates"]["map"],
            "percent replicating": scores["replicates"]["percent_replicating"],
        }
    if "mechanisms" in scores:
        found |= {
            "odds ratio at 99.5 %": scores["mechanisms"]["odds_ratio"][-1],
            "precision@R": scores["mechanisms"]["precision_at_r"],
            "NSC accuracy": scores["mechanisms"]["not_same_compound"],
        }
    if "batches" in scores:
        found["batch enrichment"] = scores["batches"]["enrichment"]
    return found


def plain(value: Any) -> Any:
    """The same as lists, dictionaries and numbers, for JSON; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
