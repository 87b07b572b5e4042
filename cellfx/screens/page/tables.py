"""The tables that compare variants of profiles: scores, how certain they are, subsets, what is left out, and terms."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cellfx.report.page import ABSENT, Section, Table
from cellfx.screens.scores import MEANS, OF_SUBSETS, headline

SOURCE = "scores.json"
MEANINGS = {
    "wells": "Scores of wells: replicates and batches",
    "treatments": "Scores of treatments: mechanisms of action",
}
"""Level -> caption."""
INFINITE = "inf: an odds ratio without limit, because all pairs above the percentile match, or all matches are above it"
TERMS = {
    "variant": "One way to normalize the same wells; all variants are scored in the same way.",
    "match": "Two treatments of one mechanism and of different compounds; in the batch enrichment, two controls of "
    "one batch.",
    "fraction retrieved": "Share of the treatments whose wells find each other better than chance: the p-value of "
    "their mean average precision, corrected for the number of treatments, is below .05.",
    "fraction of compounds retrieved": "Where compounds have several doses: share of those of which any dose is "
    "retrieved. The p-values of their doses become one by Simes' rule, which is corrected for the number of compounds.",
    "mAP of replicates": "Mean average precision: 1 where the wells of a treatment are more like each other than like "
    "any negative control of their plate.",
    "mAP of control positions": "Mean average precision of control wells of one position on several plates, against "
    "the other controls of each plate: what position alone does.",
    "mAP beyond position": "How much larger the normalized mAP of replicates is than that of control positions; 0 "
    "where treatments do no more than positions.",
    "replicate average precision": "1 where the wells of a treatment are more like each other than like the wells of "
    "any other treatment.",
    "percent retrieved": "Percent of the treatments (wells) or compounds (mechanisms) whose average precision is "
    "better than chance, as in fraction retrieved.",
    "reproducibility": "Share of the pairs of replicates that are more alike than 95 % of the pairs of different "
    "treatments; .05 by chance.",
    "percent replicating": "Percent of the treatments whose replicates are more alike, in the median, than 95 % of "
    "random groups of as many wells; 5 by chance.",
    "percent matching": "The same of mechanisms: percent of those whose compounds are more alike than random groups "
    "of as many.",
    "grit": "By how many standard deviations a well is more like the wells of other compounds of its mechanism than "
    "like the negative controls; 0: no more than these.",
    "grit of treatments": "The same of treatments, the similarities of all wells of one in one distribution.",
    "mp-value": "Multidimensional perturbation value: the p-value of one treatment, whether its wells differ from the "
    "negative controls in all features at once.",
    "NSC": "Not same compound: share of the treatments whose nearest treatment of another compound has their "
    "mechanism.",
    "NSCB": "Not same compound or batch: share of the wells whose nearest well of another compound and another batch "
    "has their mechanism.",
    "NSCB of treatments": "The same of treatments, each with a profile for each batch: share of these profiles whose "
    "nearest one of another compound and another batch has their mechanism.",
    "unreachable rows": "Treatments (NSC) or wells (NSCB) that cannot be right, because nothing they may be compared "
    "with has their mechanism; they do not count.",
    "precision@k, recall@k": "Share of the k nearest treatments that match; share of all matches that are among the k "
    "nearest.",
    "precision@R": "Precision@k where k is, for each treatment, the number of its matches.",
    "hits above chance": "How early matches come among the nearest treatments: mean of the curve Hits at k; 0 by "
    "chance, at most .5.",
    "average precision": "1 where a treatment's matches come before all others.",
    "enrichment@.995": "Odds ratio: the odds that a pair above this percentile of all similarities (of the .5 % most "
    "alike) matches, over those of all other pairs; 1 by chance.",
    "batch enrichment": "The same of pairs of negative controls, which match where they are of one batch: 1 is no "
    "batch effect, larger is worse; below 1, controls of one batch are less alike than others, as where each batch "
    "is spherized.",
    "mAP: own rules of pairs": "Mean average precision by a rule of the config section pairs: how far the positive "
    "pairs of a row come before its negative ones, averaged over rows and groups, as copairs has it.",
    "p": "How likely chance does as well or better, see above.",
}
"""Term of the glossary -> meaning."""
OF_SCORES = {
    "variant": "",
    "match": "",
    "mAP: own rules of pairs": "mAP: ",
    "percent retrieved": ".*: percent retrieved",
    "mp-value": ".*mp-value",
    "unreachable rows": "NSCB?( of treatments)? unreachable",
    "precision@k, recall@k": r"(precision|recall)@\d",
    "enrichment@.995": "enrichment@",
    "p": "",
}
"""Term -> pattern of the start of scores that need it; a term that is not here is the name of its score."""


def comparison(
    scores: Mapping[str, Mapping[str, Any]], similarity: str, not_shown: Mapping[str, str] | None = None
) -> Section:
    """The headlines of every variant, in one table, what is to be noticed of variants, and pictures that are not there.

    Args:
        scores: of every variant.
        similarity: that they compare by.
        not_shown: what the page goes without -> why.
    """
    found = {name: headline(each) for name, each in scores.items()}
    measures = list(dict.fromkeys(measure for row in found.values() for measure in row))
    rows = [(name, *(row.get(measure, ABSENT) for measure in measures)) for name, row in found.items()]
    caption = _captioned("Every variant, scored in the same way", rows)
    text = (
        "Replicates: wells of a treatment find each other before the negative controls of their plate (fraction "
        "retrieved, mAP), and resemble each other more than 95 % of random groups do (percent replicating).\n\n"
        "Mechanisms: treatments of one mechanism find each other (precision@R, NSC), also in another batch "
        "(NSCB of treatments); the enrichment is the odds ratio of the 0.5 % most similar pairs.\n\n"
        "Batch enrichment: how much likelier the most similar pairs of negative controls are to be of one batch; 1 is "
        "no batch effect, and larger is worse.\n\n"
        f"All scores compare profiles by their {similarity} similarity. The numbers at the top of the page and the "
        f"pictures of a single variant are of the last one, {list(scores)[-1]}. The glossary explains all terms.\n\n"
        "Spherizing is fitted on negative controls: where they are no more than the features, they become equally "
        "unlike each other, and scores that compare with them say less than they seem to; controls.held_out judges by "
        "others."
    )
    missing = [Table(("left out", "why"), list(not_shown.items()), "What this page does not show")] if not_shown else []
    parts = [Table(("variant", *measures), rows, caption, SOURCE), *_notices(scores), *missing]
    return Section("Variants", text, parts)


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
            tables.append(Table(("score", *scores), rows, _captioned(caption, rows), SOURCE))
    text = (
        "In brackets the 95 % interval when mechanisms are drawn again; for scores of replicates and for the "
        "enrichment compounds, for the batch enrichment controls.\n\n"
        "P-values of mechanism scores are the share of "
        f"{num_permutations} permutations that do as well, in which compounds exchange their mechanisms; of the batch "
        "enrichment, plates exchange their batches (controls, where each batch is one plate); of the replicate average "
        "precision, wells of a plate exchange their treatments. None of these is below "
        f"1 / {num_permutations + 1}.\n\n"
        "Reproducibility, percent replicating and percent retrieved (replicates): wells of a plate exchange their "
        "treatments too, so that what replicates share by their plates counts for nothing. mp-values: treated wells "
        "change places with controls of their plate. Percent matching: how often random groups of as many compounds do "
        "as well. mAP of replicates: how often random rankings do. Percent retrieved (mechanisms): random rankings of "
        "compounds, of which each is one profile.\n\n"
        "mAP beyond position: positions exchange whether they hold treatments or controls. Replicate average "
        "precision, positions kept: wells of one position, less the mean of their plate, exchange their treatments.\n\n"
        "Fraction and percent retrieved: the smallest p-value of a treatment or compound after correction, which says "
        "whether any differs from chance. Percent mp-value below .05: all treatments are compared with the same "
        "controls, so that chance may move many of them together; the p-value given is .05 divided by the share of "
        "treatments below .05. The true one is no larger, however the treatments depend on each other."
    )
    return Section("How certain", text, [*tables, *_left_out(scores)])


def subsets(scores: Mapping[str, Mapping[str, Any]]) -> Section | None:
    """Scores of subsets of the treatments beside those of all; None where there is no subset."""
    if not any(each["subsets"] for each in scores.values()):
        return None
    text = (
        "As Bornholdt 2021, section 4.6: strong phenotypes are the treatments of the last variant that correlate "
        "least with the median profile of its controls; the top mechanisms are those with most compounds."
    )
    kinds = {
        "Computed on the subset itself": OF_SUBSETS,
        "Computed on all treatments, and averaged over those of the subset": MEANS,
    }
    return Section("Subsets", text, [_of_subsets(scores, *kind) for kind in kinds.items()])


def glossary(scores: Mapping[str, Mapping[str, Any]]) -> Section:
    """The terms that the scores of these variants need, a line each."""
    names = {name for each in scores.values() for name in each["scores"]}
    starts = {term: OF_SCORES.get(term, f"{re.escape(term)}$") for term in TERMS}
    rows = [(term, words) for term, words in TERMS.items() if any(re.match(starts[term], name) for name in names)]
    return Section("Glossary", "", [Table(("term", "meaning"), rows)])


def certain(score: Mapping[str, Any]) -> str:
    """A score with its interval and p-value: 0.42 (0.38 to 0.47), p = .005."""
    text = _short(score["value"])
    if "interval" in score:
        text += f" ({' to '.join(map(_short, score['interval']))})"
    if "p_value" in score:
        text += f", p = {score['p_value']:.2g}".replace(" 0.", " .").replace("e-", "e\N{MINUS SIGN}")
    return text


def _of_subsets(scores: Mapping[str, Mapping[str, Any]], caption: str, measures: Sequence[str]) -> Table:
    rows = []
    for name, each in scores.items():
        parts = {"all": each, **each["subsets"]}
        for subset, part in parts.items() if each["subsets"] else ():
            cells = (part["scores"].get(measure) for measure in measures)
            shown = (certain(cell) if cell else ABSENT for cell in cells)
            rows.append((name, subset, part["num_treatments"], *shown))
    return Table(("variant", "subset", "treatments", *measures), rows, _captioned(caption, rows), SOURCE)


def _short(value: float) -> str:
    text = f"{value:,.0f}" if 1000 <= abs(value) < float("inf") else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _captioned(caption: str, rows: Iterable[Sequence[Any]]) -> str:
    """The caption of a table, which says what inf is where one of its scores is that."""
    cells = [str(cell) for row in rows for cell in row[1:]]
    if any(cell.endswith("to inf)") or "to inf)," in cell for cell in cells):
        return f"{caption}. {INFINITE}; at the end of an interval: in some of the draws"
    return f"{caption}. {INFINITE}" if "inf" in cells else caption


def _notices(scores: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    found = {name: [(notice,) for notice in each.get("notices", ())] for name, each in scores.items()}
    return [Table(("variant", "notice"), rows, "Notices", SOURCE)] if (rows := _shared(found)) else []


def _left_out(scores: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    found = {name: list(each["left_out"].items()) for name, each in scores.items()}
    rows = [(score, names, reason) for names, score, reason in _shared(found)]
    return [Table(("not computed", "variants", "why"), rows, "What could not be computed", SOURCE)] if rows else []


def _shared(found: Mapping[str, Iterable[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """What is said of variants, each once, after the names of those that it is said of."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name, said in found.items():
        for words in dict.fromkeys(said):
            names.setdefault(words, []).append(name)
    return [("all" if len(of) == len(found) else ", ".join(of), *words) for words, of in names.items()]
