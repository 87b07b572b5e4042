"""Scores by row: one table for the wells, treatments, compounds and mechanisms of a variant, as Parquet and CSV.

Nothing is computed here: the tables show what ``screens.scores`` found, with the numbers behind each p-value. A score
that a row has no value for is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.chance.resampling import benjamini_hochberg
from cellfx.profiles.scores.average_precision import AveragePrecision
from cellfx.profiles.scores.mean_average_precision import MeanAveragePrecision
from cellfx.profiles.scores.nearest import Classified
from cellfx.profiles.scores.replicates import Replicating
from cellfx.profiles.screen import treatment_grit, treatments
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.scoring import Scores
from cellfx.profiles.tables.table import Profiles
from cellfx.screens.doses import Doses
from cellfx.screens.score_files import LEVELS

OF_ROWS = {
    "replicate average precision": "average_precision_vs_treatments",
    "average precision": "average_precision_of_mechanism",
}
"""Score -> column of its values by row, where it is not the name of the score."""


class ByControls(NamedTuple):
    """Replicates among the negative controls of their plate.

    Attributes:
        wells: average precision of wells.
        treatments: its means over treatments.
        doses: these by compound; None where each has one.
    """

    wells: AveragePrecision
    treatments: MeanAveragePrecision
    doses: Doses | None


class Found(NamedTuple):
    """What was found of a variant.

    Attributes:
        of_wells: scores of the N wells.
        of_treatments: scores of the T treatments that are compared.
        by_controls: None where replicates were not compared with controls.
        across_batches: scores of the profiles of treatments in single batches.
    """

    of_wells: Scores
    of_treatments: Scores
    by_controls: ByControls | None
    across_batches: Scores


def make(
    wells: Profiles,
    controls: np.ndarray,
    treated: Profiles,
    by_batch: Profiles | None,
    columns: Columns,
    found: Found,
) -> dict[str, pl.DataFrame]:
    """A table for each of ``LEVELS`` that there is.

    Args:
        wells: N rows.
        controls: (N,) bool.
        treated: T rows.
        by_batch: the rows that ``found.across_batches`` are scores of.
        columns: of their metadata.
        found: their scores.

    Returns:
        Level -> rows: the metadata that tell them apart, then scores, see ``screens.score_files``. Treatments that
        are not compared follow those that are.
    """
    of_treatments = _of_treatments(wells, controls, treated, columns, found)
    tables = {
        "wells": _of_wells(wells, controls, found),
        "treatments": of_treatments,
        "compounds": _of_compounds(treated, of_treatments, columns, found),
    }
    if columns.mechanism is not None:
        tables["mechanisms"] = _of_mechanisms(treated, columns, found)
    if by_batch is not None and found.across_batches.per_row:
        _add_batches(tables, by_batch, columns, found.across_batches)
    return {level: tables[level] for level in LEVELS if level in tables}


def _of_wells(wells: Profiles, controls: np.ndarray, found: Found) -> pl.DataFrame:
    scores, num_rows = found.of_wells, len(wells.features)
    values: dict[str, Any] = {"control": controls}
    if found.by_controls is not None:
        values |= _of_ranking(found.by_controls.wells, "_vs_controls", num_rows)
    return wells.metadata.hstack(_frame(values | _by_row(scores, wells.metadata.height)))


def _of_treatments(
    wells: Profiles, controls: np.ndarray, treated: Profiles, columns: Columns, found: Found
) -> pl.DataFrame:
    by, described = list(columns.treatment), [name for name in columns.described() if name in treated.metadata.columns]
    compared = treated.metadata.select(described).with_columns(compared=True)
    compared = compared.hstack(_frame(_by_row(found.of_treatments, len(compared))))
    named = wells.metadata.filter(treatments.named(wells.metadata, columns) & ~controls)
    others = named.select(described).unique(maintain_order=True).join(compared, by, "anti", nulls_equal=True)
    table = pl.concat([compared, others.with_columns(compared=False)], how="diagonal")
    counts = named.group_by(by).agg(pl.len().cast(pl.Int64).alias("num_replicates"))
    parts = [counts] if found.by_controls is None else [counts, _of_controls(found.by_controls)]
    details, rules = found.of_wells.details, found.of_wells.details["rules"]
    grouped: list[tuple[np.ndarray, dict[str, Any]]] = []
    if "replicate average precision" in details:
        means = details["replicate average precision"]
        grouped.append((means.groups["group"].to_numpy(), _means(means, "_vs_treatments")))
    if "replicating" in details:
        grouped.append((details["replicating"].groups, _resemblance(details["replicating"], "replicating")))
    if treatment_grit.NAME in details:
        values, targets = details[treatment_grit.NAME], details["grit"].num_targets[rules.treatments >= 0]
        num_targets = np.bincount(rules.treatments[rules.treatments >= 0], targets, len(values)).astype(np.int64)
        grouped.append((np.arange(len(values)), {"grit": values, "grit_num_targets": num_targets}))
    if "mp_values" in details:
        mp = details["mp_values"]
        values = {"mp_value": mp.p_value, "corrected_mp_value": benjamini_hochberg(mp.p_value)}
        values |= {"mp_distance": mp.distance, "mp_num_components": mp.num_components}
        grouped.append((mp.treatments, values))
    parts += [_keyed(wells.metadata.select(by), rules.treatments, *each) for each in grouped]
    return _joined(table, parts, by)


def _of_compounds(treated: Profiles, of_treatments: pl.DataFrame, columns: Columns, found: Found) -> pl.DataFrame:
    metadata, by = treated.metadata, [columns.compound]
    table = of_treatments.filter(treatments.known(of_treatments, columns.compound)).group_by(by, maintain_order=True)
    mechanism = [pl.col(columns.mechanism).first()] if columns.mechanism not in (None, columns.compound) else []
    table = table.agg(*mechanism, num_treatments=pl.col("compared").sum().cast(pl.Int64))
    means, parts = found.of_treatments.details.get("average precision"), []
    if means is not None:
        units, codes = found.of_treatments.details["rules"].units, means.groups["group"].to_numpy()
        parts.append(_keyed(metadata.select(by), units, codes, _means(means, "_of_mechanism")))
    doses = found.by_controls and found.by_controls.doses
    if doses:
        parts.append(doses.compounds.hstack(_frame(doses.of_compounds())))
    return _joined(table, parts, by)


def _of_mechanisms(treated: Profiles, columns: Columns, found: Found) -> pl.DataFrame:
    metadata, by, scores = treated.metadata, [columns.mechanism], found.of_treatments
    rows = metadata.hstack(_frame(_by_row(scores, len(metadata))))
    means = [name for name in rows.columns if rows.schema[name] in (pl.Float64, pl.Boolean) and name not in metadata]
    table = rows.filter(treatments.known(metadata, columns.mechanism)).group_by(by, maintain_order=True)
    table = table.agg(
        pl.len().cast(pl.Int64).alias("num_treatments"),
        pl.col(columns.compound).drop_nulls().n_unique().cast(pl.Int64).alias("num_compounds"),
        *(pl.col(name).mean().alias(name.removesuffix("_right")) for name in means),
    )
    matching, parts = scores.details.get("matching"), []
    if matching is not None:
        codes = scores.details["rules"].mechanisms
        parts.append(_keyed(metadata.select(by), codes, matching.groups, _resemblance(matching, "matching")))
    return _joined(table, parts, by)


def _add_batches(tables: dict[str, pl.DataFrame], by_batch: Profiles, columns: Columns, scores: Scores) -> None:
    """Adds the table of treatments by batch, and its means to those of treatments and mechanisms."""
    rows = by_batch.metadata.hstack(_frame(_by_row(scores, len(by_batch.metadata))))
    tables["treatments_by_batch"] = rows
    share = pl.col("NSCB_right").mean().alias("NSCB")
    for level, by in ("treatments", list(columns.treatment)), ("mechanisms", [columns.mechanism]):
        if level in tables:
            tables[level] = _joined(tables[level], [rows.group_by(by).agg(share)], by)


def _by_row(scores: Scores, num_rows: int) -> dict[str, Any]:
    """Column -> (N,) values of what is scored row by row."""
    values: dict[str, Any] = {}
    for name, each in scores.per_row.items():
        if isinstance(found := scores.details.get(name), Classified):
            mechanisms = np.array([*found.mechanisms, None], object)
            right = pl.Series(found.right).set(pl.Series(~found.judged), None)
            predicted = pl.Series(mechanisms[found.predicted].tolist(), dtype=pl.String)
            values |= {f"{name}_right": right, f"{name}_predicted": predicted}
        else:
            values[OF_ROWS.get(name, name.replace("@", "_at_").replace(" ", "_"))] = each
    for name, column in OF_ROWS.items():
        if f"{name} of rows" in scores.details:
            suffix = column.removeprefix("average_precision")
            values |= _of_ranking(scores.details[f"{name} of rows"], suffix, num_rows)
    if "grit" in scores.details:
        grit = scores.details["grit"]
        values |= {"grit_num_targets": grit.num_targets, "grit_num_controls": grit.num_controls}
    return values


def _of_ranking(result: AveragePrecision, suffix: str, num_rows: int) -> dict[str, Any]:
    return {
        f"average_precision{suffix}": _placed(result.rows, result.average_precision, num_rows),
        f"normalized_average_precision{suffix}": _placed(result.rows, result.normalised, num_rows),
        f"num_positives{suffix}": _placed(result.rows, result.num_positives, num_rows),
        f"num_negatives{suffix}": _placed(result.rows, result.num_pairs - result.num_positives, num_rows),
    }


def _of_controls(found: ByControls) -> pl.DataFrame:
    """A row for each treatment."""
    values = _means(found.treatments, "_vs_controls") | (found.doses.of_treatments() if found.doses else {})
    return found.treatments.groups.hstack(_frame(values))


def _means(result: MeanAveragePrecision, suffix: str) -> dict[str, Any]:
    return {
        f"mean_average_precision{suffix}": result.mean_average_precision,
        f"mean_normalized_average_precision{suffix}": result.mean_normalised,
        f"num_scored{suffix}": result.num_rows,
        f"p_value{suffix}": result.p_value,
        f"exact{suffix}": result.exact,
        f"corrected_p_value{suffix}": result.corrected_p_value,
        f"retrieved{suffix}": result.retrieved,
    }


def _resemblance(result: Replicating, name: str) -> dict[str, Any]:
    unknown = np.isnan(result.p_value).any()  # of all, where there was nothing to compare with
    return {
        name: result.median > result.high,
        f"{name}_num_rows": result.num_rows,
        f"{name}_median_similarity": result.median,
        f"{name}_null_low": result.low,
        f"{name}_null_high": result.high,
        f"{name}_p_value": result.p_value,
        f"{name}_corrected_p_value": result.p_value if unknown else benjamini_hochberg(result.p_value),
    }


def _keyed(keys: pl.DataFrame, of_rows: np.ndarray, codes: np.ndarray, values: Mapping[str, Any]) -> pl.DataFrame:
    """Values (G,) of groups beside the keys that the first row of each group has; ``of_rows`` (N,) are groups."""
    names, first = np.unique(of_rows, return_index=True)
    return keys[first[np.searchsorted(names, codes)]].hstack(_frame(values))


def _joined(table: pl.DataFrame, parts: Sequence[pl.DataFrame], by: Sequence[str]) -> pl.DataFrame:
    for part in parts:
        table = table.join(part, by, "left", nulls_equal=True, maintain_order="left")
    return table


def _placed(rows: np.ndarray, values: np.ndarray, num_rows: int) -> pl.Series:
    """(N,) values at their rows, and nothing elsewhere."""
    return (
        pl.Series(np.zeros(num_rows, values.dtype))
        .scatter(rows, values)
        .set(pl.Series(~np.isin(np.arange(num_rows), rows)), None)
    )


def _frame(values: Mapping[str, Any]) -> pl.DataFrame:
    """Columns, in which what is not defined is missing."""
    return pl.DataFrame({name: pl.Series(name, each, nan_to_null=True) for name, each in values.items()})
