"""Own rules of pairs: the config section ``pairs`` of ``bin/profile``, a mean average precision for each.

    config.pairs = ConfigDict({"across_batches": {
        "pos_sameby": ("Metadata_Compound",), "pos_diffby": ("Metadata_Batch",),
        "neg_sameby": ("Metadata_Plate",), "neg_diffby": ("Metadata_Compound",),
    }})

The four lists are those of copairs (Kalinin et al. 2025, doi:10.1038/s41467-025-60306-2), and mean the same: of each
row its positive pairs are ranked among its negative ones. Negative controls may be partners, and are never a group:
what copairs gives for their rows is to be left out there too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.mean_average_precision import MeanAveragePrecision
from cellfx.profiles.screen import score as library
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.rules import check_columns, pair_rule
from cellfx.profiles.steps import fitted
from cellfx.profiles.steps.variant import told
from cellfx.profiles.tables import row_filter
from cellfx.profiles.tables.table import METADATA, Profiles
from cellfx.screens.numbers import retrieved
from cellfx.screens.score_files import PAIRS
from cellfx.screens.scores import OWN, Variant
from cellfx.screens.setting import Asked
from cellfx.settings import call

CONTROL = f"{METADATA}Negative_Control"
"""Column of booleans that rules of wells may name: whether the well is a negative control."""
MEAN, SHARE = OWN, "fraction retrieved: "
"""Before the name of a rule: its two scores."""


class Pairs(NamedTuple):
    """A rule of the config.

    Attributes:
        pos_sameby: columns in which both rows of a positive pair agree.
        pos_diffby: columns in which they differ.
        neg_sameby: columns in which both rows of a negative pair agree.
        neg_diffby: columns in which they differ.
        by: columns that make the groups over whose rows the average precision is averaged; none: ``pos_sameby``.
        level: of the rows, wells (level 4) or treatments (level 5, whose metadata ``consensus.by`` says).
        where: SQL, rows that take part, see ``profiles.tables.row_filter``; None: all.
    """

    pos_sameby: tuple[str, ...] = ()
    pos_diffby: tuple[str, ...] = ()
    neg_sameby: tuple[str, ...] = ()
    neg_diffby: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    level: Literal["wells", "treatments"] = "wells"
    where: str | None = None

    @property
    def lists(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """As ``average_precision`` takes them."""
        return [*self.pos_sameby], [*self.pos_diffby], [*self.neg_sameby], [*self.neg_diffby]


def read(given: Mapping[str, Any]) -> dict[str, Pairs]:
    """The section, name -> rule.

    Raises:
        ValueError: a key that is none, a value of the wrong kind, no pairs, no groups, or no SQL.
    """
    found = {}
    for name, rule in given.items():
        key = f"pairs.{name}"
        if not isinstance(rule, Mapping):
            raise UserError(f"wrong type for config key {key}: got {rule!r}, expected a section; correct it")
        listed = {what: fitted.columns(value) if isinstance(value, str) else value for what, value in rule.items()}
        listed |= {what: rule[what] for what in ("level", "where") if what in rule}
        one = call(Pairs, key, listed)
        if not (one.pos_sameby or one.pos_diffby) or not (one.neg_sameby or one.neg_diffby):
            raise UserError(
                f"a rule without pairs: got {key} with {', '.join(rule) or 'nothing'}, expected columns in pos_sameby "
                "or pos_diffby, and in neg_sameby or neg_diffby; name them"
            )
        if not (one.by or one.pos_sameby):
            raise UserError(f"a rule without groups: got {key} without pos_sameby, expected it, or by; name columns")
        if one.where is not None:
            row_filter.parse(one.where, f"{key}.where")
        found[name] = one._replace(by=tuple(one.by or one.pos_sameby))
    return found


def check(variant: Variant, rules: Mapping[str, Pairs]) -> None:
    """Looks whether rules name columns that there are, before anything is scored.

    Raises:
        ValueError: one that there is not or that is named twice, or as ``row_filter.keep``.
    """
    for name, rule in rules.items():
        rows = _rows(name, rule, variant)
        pos_sameby, pos_diffby, neg_sameby, neg_diffby = rule.lists
        with told(f"pairs.{name}, {rule.level}"):
            pair_rule(rows.metadata, pos_sameby, pos_diffby)
            pair_rule(rows.metadata, neg_sameby, neg_diffby)
            check_columns(rows.metadata, rule.by)


def score(variant: Variant, columns: Columns, question: Asked, rules: Mapping[str, Pairs]) -> dict[str, Any]:
    """Scores of own rules.

    Args:
        variant: wells and treatments.
        columns: of their metadata.
        question: what is asked.
        rules: name -> rule.

    Returns:
        ``scores``, ``left_out`` and ``pairs`` (name -> groups, their mean average precision and corrected p-values), as
        in ``screens.scores.score``, and ``tables``, with one of all groups of all rules. A rule by which no row has
        both kinds of pairs is left out.
    """
    found: dict[str, Any] = {"scores": {}, "left_out": {}, "pairs": {}, "tables": {}}
    tables = []
    for name, rule in rules.items():
        result = library.attempt(found["left_out"], MEAN + name, _score, name, rule, variant, columns, question)
        if result is not None:
            found["pairs"][name], scores, mean = result
            found["scores"] |= scores
            tables.append(_table(name, rule, mean))
    if tables:
        found["tables"][PAIRS] = pl.concat(tables)
    return found


def _table(name: str, rule: Pairs, mean: MeanAveragePrecision) -> pl.DataFrame:
    """A row for each group, see ``screens.score_files.MEANINGS``."""
    group = pl.concat_str([pl.col(column).cast(pl.String) for column in mean.groups.columns], separator=" · ")
    values = {
        "num_scored": mean.num_rows,
        "mean_average_precision": mean.mean_average_precision,
        "mean_normalized_average_precision": mean.mean_normalised,
        "p_value": mean.p_value,
        "exact": mean.exact,
        "corrected_p_value": mean.corrected_p_value,
        "retrieved": mean.retrieved,
    }
    return mean.groups.select(
        pl.lit(name).alias("rule"),
        pl.lit(rule.level).alias("level"),
        group.alias("group"),
        *(pl.Series(f"{what}_by_rule", each) for what, each in values.items()),
    )


def _score(
    name: str, rule: Pairs, variant: Variant, columns: Columns, question: Asked
) -> tuple[dict[str, Any], dict[str, Any], MeanAveragePrecision]:
    rows = _rows(name, rule, variant)
    named = {column for listed in rule.lists for column in listed}
    multilabel = columns.mechanism if columns.multilabel and columns.mechanism in named else None
    precision = average_precision(rows, *rule.lists, question.similarity, multilabel, question.effort.ties)
    treated = rows.metadata
    if CONTROL in treated.columns:
        group = rule.by[0]
        treated = treated.with_columns(pl.when(~pl.col(CONTROL)).then(pl.col(group)).alias(group))
    names = (SHARE + name, MEAN + name)
    return retrieved(precision, treated, rule.by, columns, question, names, rule.level)


def _rows(name: str, rule: Pairs, variant: Variant) -> Profiles:
    """Those that take part."""
    rows = variant.treated
    if rule.level == "wells":
        rows = variant.wells
        rows = rows._replace(metadata=rows.metadata.with_columns(pl.Series(CONTROL, variant.controls, pl.Boolean)))
    return rows if rule.where is None else row_filter.keep_profiles(rule.where, rows, f"pairs.{name}.where")[0]


def lines(variant: Variant, columns: Columns, rules: Mapping[str, Pairs]) -> Sequence[str]:
    """How many rows own rules leave out, and whose p-values are too small, a line each."""
    found = []
    for name, rule in rules.items():
        if rule.where is not None:
            rows, key = _rows(name, rule._replace(where=None), variant), f"pairs.{name}.where"
            found.append(row_filter.told(row_filter.keep_profiles(rule.where, rows, key)[1], rule.level, key))
        found += _clumps(name, rule, variant, columns.compound)
    return found


def _clumps(name: str, rule: Pairs, variant: Variant, compound: str) -> list[str]:
    """Positive pairs of different compounds of which some have several rows, see ``mean_average_precision``."""
    metadata = _rows(name, rule, variant).metadata
    if compound not in metadata.columns or compound in rule.pos_sameby:
        return []
    if CONTROL in metadata.columns:
        metadata = metadata.filter(~pl.col(CONTROL))
    same = [*rule.pos_sameby]
    sizes = metadata.drop_nulls([*same, compound]).group_by([*same, compound]).len()
    several = sizes.with_columns(pl.len().over(same or pl.lit(0)).alias("compounds")).filter(pl.col("compounds") > 1)
    clumped = several.filter(pl.col("len") > 1)
    if not len(clumped):
        return []
    text = (
        f"pairs.{name}: positive pairs are of different compounds, {len(clumped):,} of {len(several):,} of which have "
        f"several {rule.level}: these rank as a clump, each counts as evidence of its own, and p-values and "
        f"{SHARE}{name} say too much; compare one row a compound, for instance by level = 'treatments'"
    )
    return [text]
