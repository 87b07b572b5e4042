"""The tables that compare variants of profiles: their scores, how certain these are, subsets, and what is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from cellfx.analysis.report import Section, Table
from cellfx.profile_scores import MEANS, OF_SUBSETS, headline

SOURCE = "scores.json"
ABSENT = "\N{EN DASH}"
MEANINGS = {
    "wells": "Scores of wells: replicates and batches",
    "treatments": "Scores of treatments: mechanisms of action",
}
"""Level -> caption."""


def comparison(scores: Mapping[str, Mapping[str, Any]]) -> Section:
    """The headlines of every variant, in one table."""
    rows = {name: headline(each) for name, each in scores.items()}
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    table = Table(
        ("variant", *measures),
        [(name, *(row.get(measure, ABSENT) for measure in measures)) for name, row in rows.items()],
        "Every variant, scored in the same way",
        SOURCE,
    )
    text = (
        "Replicates: wells of a treatment find each other before the negative controls of their plate (fraction "
        "retrieved, mAP), and resemble each other more than 95 % of random groups do (percent replicating). "
        "Mechanisms: treatments of one mechanism find each other (precision@R, NSC); the odds ratio of the 0.5 % most "
        "similar pairs (enrichment) is inf where all of them match. Batch enrichment: how much likelier the most "
        "similar pairs of negative controls are to be of one batch; 1 is no batch effect, and larger is worse. "
        "Spherizing is fitted on negative controls: where they are no more than the features, they become equally "
        "unlike each other, and scores that compare with them say less than they seem to."
    )
    return Section("Variants", text, [table])


def certainty(scores: Mapping[str, Mapping[str, Any]], num_permutations: int) -> Section:
    """Every score of every variant with its interval and p-value, and what could not be computed."""
    tables = []
    for level, caption in MEANINGS.items():
        found = [name for each in scores.values() for name, one in each["scores"].items() if one["level"] == level]
        rows = [
            (name, *(certain(each["scores"][name]) if name in each["scores"] else ABSENT for each in scores.values()))
            for name in dict.fromkeys(found)
        ]
        if rows:
            tables.append(Table(("score", *scores), rows, caption, SOURCE))
    text = (
        "In brackets the 95 % interval when compounds are drawn again (mechanisms for percent matching, controls for "
        "batch enrichment). P-values of mechanism scores are the share of "
        f"{num_permutations} permutations that do as well, in which compounds exchange their mechanisms; of the batch "
        "enrichment, controls exchange their batches; of the average precision of replicates among wells, wells their "
        f"treatments; none of these is below 1 / {num_permutations + 1}. Reproducibility, percent replicating and "
        "percent matching: how often random groups of as many rows do as well. Fraction retrieved, mAP and percent "
        "retrieved: the smallest p-value of a treatment or compound after correction, which says whether any differs "
        "from chance. Percent mp-value below .05: .05 divided by the share, a bound."
    )
    return Section("How certain", text, [*tables, *_left_out(scores)])


def subsets(scores: Mapping[str, Mapping[str, Any]]) -> Section | None:
    """Scores of subsets of the treatments beside those of all; None where there is no subset."""
    rows = []
    for name, each in scores.items():
        parts = {"all": each, **each["subsets"]}
        for subset, part in parts.items() if each["subsets"] else ():
            cells = (part["scores"].get(measure) for measure in (*OF_SUBSETS, *MEANS))
            shown = (certain(cell) if cell else ABSENT for cell in cells)
            rows.append((name, subset, part["num_treatments"], *shown))
    if not rows:
        return None
    text = (
        "As Bornholdt 2021, section 4.6: strong phenotypes are the treatments of the last variant that correlate "
        "least with the median profile of its controls; the top mechanisms are those with most compounds. Enrichment "
        "and hits are computed on the subset itself; the others on all treatments, and averaged over the subset."
    )
    columns = ("variant", "subset", "treatments", *OF_SUBSETS, *MEANS)
    return Section("Subsets", text, [Table(columns, rows, "Subsets of the treatments", SOURCE)])


def certain(score: Mapping[str, Any]) -> str:
    """A score with its interval and p-value: 0.42 (0.38 to 0.47), p = .005."""
    text = _short(score["value"])
    if "interval" in score:
        text += f" ({' to '.join(map(_short, score['interval']))})"
    if "p_value" in score:
        text += f", p = {score['p_value']:.2g}".replace(" 0.", " .")
    return text


def _short(value: float) -> str:
    text = f"{value:,.0f}" if 1000 <= abs(value) < float("inf") else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _left_out(scores: Mapping[str, Mapping[str, Any]]) -> Sequence[Table]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, each in scores.items():
        for score, reason in each["left_out"].items():
            reasons.setdefault((score, reason), []).append(name)
    rows = [
        (score, "all" if len(names) == len(scores) else ", ".join(names), reason)
        for (score, reason), names in reasons.items()
    ]
    return [Table(("not computed", "variants", "why"), rows, "What could not be computed", SOURCE)] if rows else []
