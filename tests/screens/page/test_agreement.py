"""Claims of agreement: each names a test that is there, and claims no more digits than that test holds."""

import ast
from pathlib import Path

import pytest

from cellfx.screens.page import agreement
from cellfx.screens.page.agreement import AGREEMENTS, SAMPLED

TESTS = Path(__file__).parents[2]


def source(claim):
    """Text of the named test and of the functions of its file that it calls."""
    path, name = claim.test.split("::")
    functions = {node.name: node for node in ast.parse((TESTS / path).read_text()).body if hasattr(node, "name")}
    assert name in functions, f"no test {claim.test}"
    called = {
        node.func.id for node in ast.walk(functions[name]) if isinstance(node, ast.Call) and hasattr(node.func, "id")
    }
    return "\n".join(ast.unparse(functions[each]) for each in [name, *sorted(called & functions.keys())])


@pytest.mark.parametrize("claim", AGREEMENTS, ids=lambda claim: f"{claim.what}, {claim.tool}")
def test_a_claim_is_what_its_test_asserts(claim):
    text = source(claim)
    if claim.bound == SAMPLED:
        assert claim.measured is None
        assert "sqrt" in text or "atol=0.02" in text or "spread" in text
    elif claim.bound == "same":
        assert claim.measured is None
        assert " == " in text or "assert_array_equal" in text
    else:
        bounds = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        assert float(claim.bound) in bounds
        assert claim.measured <= float(claim.bound)
        assert claim.bound.startswith("1e-")


def test_tools_are_of_the_versions_that_are_installed():
    from importlib.metadata import version

    for tool in (agreement.COPAIRS, agreement.PYCYTOMINER):
        name, number = tool.split()
        assert version(name) == number


def test_the_page_has_a_row_for_each():
    (table,) = agreement.section().parts
    assert len(table.rows) == len(AGREEMENTS)
    by_name = {row[:2]: row[3:] for row in table.rows}
    assert by_name["mAP of replicates", "copairs, as published for JUMP"][0] == "12"
    assert by_name["pairs that match", "copairs 0.5.5"][0] == "all"
