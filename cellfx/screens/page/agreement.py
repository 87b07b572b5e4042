"""Which tool each number of ``bin/profile`` agrees with, to how many digits, and the test that shows it.

``tests/peers/agreement_digits.py`` measures the differences again, and ``tests/screens/page/test_agreement.py`` holds
every claim against its test.
"""

from typing import NamedTuple

from cellfx.report.page import ABSENT, Section, Table

COPAIRS, PYCYTOMINER, EVAL = "copairs 0.5.5", "pycytominer 1.7.1", "cytominer-eval 0.1 (its published values)"
SCIPY, SKLEARN, NUMPY = "SciPy", "scikit-learn", "the definition, written out in NumPy"
SAMPLED = "sampling error"
"""Both are drawn at random: they differ by no more than four standard errors, or as the test says."""


class Agreement(NamedTuple):
    """One comparison.

    Attributes:
        what: numbers of the report, or steps.
        tool: what they are compared with.
        where: the data of the comparison.
        bound: what the test allows, as in its text; "same" where nothing may differ, or ``SAMPLED``.
        measured: the largest difference seen, absolute, or of values above 1 as a share of the largest of them; None
            where there is none to be measured.
        test: file and name below ``tests``.
    """

    what: str
    tool: str
    where: str
    bound: str
    measured: float | None
    test: str


JUMP, EVAL_PLATE, SMALL = "a plate of JUMP", "a LINCS plate", "simulated"


def _profiles(test: str, name: str) -> str:
    folder, _, file = test.rpartition("/")
    return f"profiles/{folder}/test_{file}.py::test_{name}"


AGREEMENTS = (
    Agreement("aggregation", PYCYTOMINER, SMALL, "1e-12", 2e-16, _profiles("tables/aggregate", "equals_pycytominer")),
    Agreement(
        "normalization", PYCYTOMINER, JUMP, "1e-9", 2e-16,
        _profiles("steps/normalize", "equals_pycytominer_on_a_real_plate"),
    ),
    Agreement(
        "feature selection", PYCYTOMINER, "two plates", "same", None,
        _profiles("steps/select", "equals_pycytominer_on_real_plates"),
    ),
    Agreement("spherizing", PYCYTOMINER, SMALL, "1e-9", 2e-11, _profiles("steps/spherize", "equals_pycytominer")),
    Agreement(
        "spherizing", PYCYTOMINER, JUMP, "1e-6", 2e-7, _profiles("steps/spherize", "equals_pycytominer_on_a_real_plate")
    ),
    Agreement(
        "consensus", PYCYTOMINER, EVAL_PLATE, "1e-9", 5e-17,
        _profiles("steps/consensus", "equals_pycytominer_on_a_real_plate")
    ),
    Agreement("similarities", SCIPY, SMALL, "1e-13", 7e-16, _profiles("similarity/blocks", "blocks_equal_scipy")),
    Agreement(
        "pairs that match", COPAIRS, SMALL, "same", None,
        _profiles("similarity/rules", "pairs_are_those_of_copairs"),
    ),
    Agreement(
        "mAP of replicates", "copairs, as published for JUMP", "four plates of JUMP", "1e-12", 2e-16,
        _profiles("scores/average_precision", "published_values_of_jump"),
    ),
    Agreement(
        "average precision, ties by its rule", COPAIRS, SMALL, "1e-9", 4e-15,
        _profiles("scores/average_precision", "equals_copairs"),
    ),
    Agreement(
        "average precision", SKLEARN, SMALL, "1e-12", 3e-16,
        _profiles("scores/average_precision", "equals_scikit_learn_where_negatives_are_all_others"),
    ),
    Agreement(
        "average precision by chance", COPAIRS, SMALL, "1e-12", 2e-16,
        _profiles("chance/random_ranking", "expectation_of_many_equals_copairs"),
    ),
    Agreement(
        "p-values of mean average precision", COPAIRS, SMALL, SAMPLED, None,
        _profiles("scores/mean_average_precision", "sampled_p_values_agree_with_copairs"),
    ),
    Agreement(
        "corrected p-values, fraction retrieved", SCIPY, SMALL, "1e-14", 2e-16,
        _profiles("chance/resampling", "correction_equals_scipy"),
    ),
    Agreement(
        "p-values corrected for doses", NUMPY, SMALL, "same", None,
        _profiles("chance/hierarchical", "adjusted_p_values_are_those_of_the_procedure_at_every_level"),
    ),
    Agreement("intervals", SCIPY, SMALL, SAMPLED, None, _profiles("chance/resampling", "interval_equals_scipy")),
    Agreement(
        "enrichment, batch enrichment", EVAL, EVAL_PLATE, "1e-9", 3e-11,
        _profiles("scores/enrichment", "published_values_of_cytominer_eval"),
    ),
    Agreement(
        "odds ratio and p-value of Fisher's test", SCIPY, SMALL, "1e-8", 8e-15,
        _profiles("scores/fisher", "agrees_with_scipy_on_tables_of_all_kinds"),
    ),
    Agreement(
        "precision@k, recall@k, pooled", EVAL, EVAL_PLATE, "1e-9", 5e-11,
        _profiles("scores/retrieval", "precision_and_recall_are_those_of_cytominer_eval"),
    ),
    Agreement(
        "precision@k, recall@k, precision@R", NUMPY, SMALL, "1e-12", 0.0,
        _profiles("scores/retrieval", "scores_follow_from_ranks")
    ),
    Agreement(
        "NSC, NSCB", NUMPY, SMALL, "1e-12", 0.0,
        _profiles("scores/nearest", "votes_are_those_of_the_definition"),
    ),
    Agreement(
        "NSCB of treatments", NUMPY, SMALL, "1e-12", 0.0,
        "screens/test_batches.py::test_neighbours_are_of_another_compound_and_batch",
    ),
    Agreement("grit", NUMPY, SMALL, "1e-10", 6e-16, _profiles("scores/grit", "agrees_with_the_definition")),
    Agreement(
        "grit of treatments", NUMPY, SMALL, "1e-10", 4e-16,
        _profiles("screen/treatment_grit", "treatments_have_the_grit_that_cytominer_eval_pools"),
    ),
    Agreement(
        "distances of mp-values", f"{NUMPY}, {SKLEARN}", SMALL, "1e-9", 3e-14,
        _profiles("scores/mp_value", "distances_are_those_of_the_definition"),
    ),
    Agreement(
        "mp-values", NUMPY, SMALL, SAMPLED, None, _profiles("scores/mp_value", "p_values_are_those_of_all_arrangements")
    ),
    Agreement(
        "medians of percent replicating and matching", NUMPY, SMALL, SAMPLED, None,
        _profiles("scores/replicates", "medians_and_null_are_those_of_the_definition"),
    ),
    Agreement(
        "reproducibility", NUMPY, SMALL, "same", None,
        _profiles("scores/replicates", "reproducibility_is_that_of_cytominer_eval"),
    ),
    Agreement(
        "principal components", SKLEARN, SMALL, "1e-8", 2e-15,
        _profiles("steps/components", "components_are_scikit_learns_up_to_their_sign"),
    ),
)  # fmt: skip


def section() -> Section:
    """The claims, for the page."""
    text = (
        "What the numbers of this page, and the steps before them, were compared with. A test of cellfx keeps each "
        "difference within what is allowed; beside it stands the largest that was measured on 30 November 2026, with "
        "tests/peers/agreement_digits.py. Differences are absolute; where values are above 1, they are shares of the "
        "largest of them. Sampling error: both are drawn at random, and differ by no more than that explains."
    )
    rows = [(each.what, each.tool, each.where, _digits(each.bound), each.bound, _seen(each)) for each in AGREEMENTS]
    names = ("number", "agrees with", "on", "digits", "allowed", "measured")
    return Section("Agreement", text, [Table(names, rows, "Numbers and what they agree with")])


def _digits(bound: str) -> str:
    """Digits that a bound leaves no doubt of: 9 for 1e-9; all, where nothing may differ."""
    return {"same": "all", SAMPLED: ABSENT}.get(bound, bound.removeprefix("1e-"))


def _seen(claim: Agreement) -> str:
    return ABSENT if claim.measured is None else f"{claim.measured:.0e}" if claim.measured else "0"
