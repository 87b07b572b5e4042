"""Tables of scores as files, and what their columns mean: ``columns.csv`` beside them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from cellfx.profiles.tables.table import METADATA, whole

FOLDER = "scores"
"""Of the workdir, with a folder for each variant and ``COLUMNS_FILE``."""
COLUMNS_FILE = "columns.csv"
LEVELS = ("wells", "treatments", "treatments_by_batch", "compounds", "mechanisms")
PAIRS = "pairs"
"""The table of groups of own rules of pairs, where there are any."""

SUFFIXES = {
    "_vs_controls": "the wells of a treatment among the negative controls of their plate",
    "_vs_treatments": "the wells of a treatment among the wells of all other treatments",
    "_of_mechanism": "treatments of a mechanism among those of other mechanisms, pairs of one compound left out; in "
    "the table of compounds, each compound is one profile, the median of its treatments",
    "_by_rule": "rows of the group by a rule of the config section pairs",
}
"""Ending of a column -> which rows its average precision looks for, and among which."""
MEANINGS = {
    r"control": "whether the well is a negative control",
    r"compared": "whether the treatment is compared: the scores of mechanisms see no other",
    r"num_replicates": "wells of the treatment, without controls",
    r"num_treatments": "treatments that are compared",
    r"num_compounds": "compounds that are compared",
    r"average_precision_.*": "average precision: {}",
    r"normalized_average_precision_.*": "(average precision - E) / (1 - E), E of a random ranking: {}",
    r"num_positives_.*": "rows that should be found: {}",
    r"num_negatives_.*": "rows that should come after them: {}",
    r"mean_average_precision_.*": "mean of the average precision over scored rows: {}",
    r"mean_normalized_average_precision_.*": "mean of the normalized average precision over scored rows: {}",
    r"num_scored_.*": "rows with an average precision, which is defined with a positive and a negative: {}",
    r"p_value_vs_treatments": "how likely wells of a plate that exchange their treatments do as well: {}",
    r"p_value_.*": "how likely a random ranking does as well as the mean average precision: {}",
    r"exact_.*": "whether that p-value is exact, or counted among random rankings: {}",
    r"corrected_p_value_.*": "that p-value after Benjamini and Hochberg, over all rows of this table: {}",
    r"retrieved_.*": "whether the corrected p-value is below .05: {}",
    r"hierarchical_p_value_vs_controls": "that p-value corrected for the doses of the compound and for all compounds, "
    "in two steps: the smallest level at which the compound is selected and the dose discovered",
    r"hierarchically_retrieved_vs_controls": "whether the p-value corrected in two steps, of the dose or of the "
    "compound, is below .05",
    r"num_tested_vs_controls": "treatments of the compound with a p-value, compared or not",
    r"num_retrieved_vs_controls": "those of them that are retrieved by the correction in two steps",
    r"simes_p_value_vs_controls": "Simes' p-value: whether any treatment of the compound differs from the controls",
    r"corrected_simes_p_value_vs_controls": "Simes' p-value after Benjamini and Hochberg, over compounds",
    r"grit": "standard deviations by which the wells are more like others of the mechanism than like controls",
    r"grit_num_targets": "pairs of a well and a well of another compound of its mechanism that grit compares",
    r"grit_num_controls": "negative controls that it compares them with",
    r"NSCB?": "share of the rows whose nearest row of another compound (NSCB: and batch) has their mechanism",
    r"NSCB?_right": "whether the nearest row of another compound (NSCB: and batch) has the mechanism; missing where "
    "the mechanism is not known or none of these has it",
    r"NSCB?_predicted": "mechanism of the nearest row of another compound (NSCB: and batch)",
    r"precision_at_\d+": "share of the k nearest treatments that match; of mechanisms: mean over treatments",
    r"recall_at_\d+": "share of all matches that are among the k nearest; of mechanisms: mean over treatments",
    r"precision_at_R": "precision at k, where k is the number of matches; of mechanisms: mean over treatments",
    r"replicating": "whether the replicates are more alike than the upper end of their null",
    r"matching": "whether the compounds are more alike than the upper end of their null",
    r"(replicating|matching)_num_rows": "rows whose pairs are compared: wells, or compounds",
    r"(replicating|matching)_median_similarity": "median similarity of these pairs",
    r"(replicating|matching)_null_(low|high)": "5th and 95th percentile of the same of random groups of as many rows",
    r"replicating_p_value": "share of like treatments, after wells of a plate exchanged theirs, that are as alike",
    r"matching_p_value": "share of the random groups that are as alike, the own one counted",
    r"(replicating|matching)_corrected_p_value": "that p-value after Benjamini and Hochberg, over this table",
    r"mp_value": "multidimensional perturbation value: the p-value that the wells differ from the controls",
    r"corrected_mp_value": "the mp-value after Benjamini and Hochberg, over this table",
    r"mp_distance": "Mahalanobis distance of the mean of the wells from that of the controls",
    r"mp_num_components": "principal components that it is measured on",
}
"""Pattern of a column -> its meaning, where {} stands for what ``SUFFIXES`` says."""
MEANINGS_OF_PAIRS = {
    "rule": "name of a rule of the config section pairs",
    "level": "whether its rows are wells or treatments",
    "group": "what the rows of a group share",
    "corrected_p_value_by_rule": "that p-value after Benjamini and Hochberg, over the groups of the rule",
}
"""Column of the table ``PAIRS`` alone -> its meaning."""


def write(tables: Mapping[str, Mapping[str, pl.DataFrame]], workdir: Path) -> None:
    """Writes ``scores/<variant>/<level>.parquet`` and ``.csv``, and what their columns mean.

    Args:
        tables: folder of the variant -> level -> table.
        workdir: of the run.

    Raises:
        OSError: the disk is full.
    """
    meanings: dict[str, dict[str, str]] = {level: {} for level in (*LEVELS, PAIRS)}
    for name, levels in tables.items():
        folder = workdir / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        for level in meanings:
            _write(levels.get(level), folder / f"{level}.parquet", folder / f"{level}.csv")
            meanings[level] |= describe(levels[level].columns) if level in levels else {}
    rows = [(level, *pair) for level, columns in meanings.items() for pair in columns.items()]
    with whole(workdir / FOLDER / COLUMNS_FILE) as temporary:
        pl.DataFrame(rows, ("table", "column", "meaning"), orient="row").write_csv(temporary)


def describe(names: Sequence[str]) -> dict[str, str]:
    """Column -> what it means."""
    return {name: _meaning(name) for name in names}


def _meaning(name: str) -> str:
    if name.startswith(METADATA):
        return "metadata, as in the profiles"
    if name in MEANINGS_OF_PAIRS:
        return MEANINGS_OF_PAIRS[name]
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    meaning = next(words for pattern, words in MEANINGS.items() if re.fullmatch(pattern, name))
    return meaning.format(SUFFIXES.get(suffix, ""))


def _write(table: pl.DataFrame | None, parquet: Path, csv: Path) -> None:
    """Both files whole; neither, where there is no table, also of an earlier run."""
    if table is None:
        parquet.unlink(missing_ok=True)
        csv.unlink(missing_ok=True)
        return
    with whole(parquet) as temporary:
        table.write_parquet(temporary)
    with whole(csv) as temporary:
        table.write_csv(temporary)
