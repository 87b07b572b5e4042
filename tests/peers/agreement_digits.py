"""The largest difference that each test of ``cellfx.screens.page.agreement`` sees, beside what it allows and claims.

    CELLFX_DATA=/data .venv/bin/python tests/peers/agreement_digits.py

A difference is absolute, or of values above 1 a share of the largest of them; it is that of every
``np.testing.assert_allclose`` of the test.
"""

import argparse
from pathlib import Path

import numpy as np
import pytest

from cellfx.screens.page.agreement import AGREEMENTS

TESTS = Path(__file__).parents[1]


class Recorder:
    """A plugin of pytest that notes the differences of each test, and its outcome."""

    def __init__(self):
        self.largest, self.outcome, self.current = {}, {}, None
        self.original = np.testing.assert_allclose
        np.testing.assert_allclose = self.compare

    def compare(self, actual, desired, *args, **kwargs):
        first, second = (np.asarray(part, float) for part in (actual, desired))
        first, second = np.broadcast_arrays(first, second)
        known = np.isfinite(first) & np.isfinite(second)
        if known.any():
            seen = np.abs(first - second)[known].max() / max(1.0, np.abs(second[known]).max())
            self.largest[self.current] = max(self.largest.get(self.current, 0.0), float(seen))
        self.original(actual, desired, *args, **kwargs)

    def pytest_runtest_setup(self, item):
        self.current = item.nodeid.partition("[")[0]

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            name = report.nodeid.partition("[")[0]
            self.outcome.setdefault(name, set()).add(report.outcome)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    recorder = Recorder()
    nodes = dict.fromkeys(str(TESTS / each.test) for each in AGREEMENTS)
    pytest.main(["-q", "-p", "no:xdist", "--no-header", *nodes], plugins=[recorder])
    found = {name.removeprefix("tests/"): name for name in recorder.outcome}
    for each in AGREEMENTS:
        name = found.get(each.test)
        seen = recorder.largest.get(name)
        text = "none measured" if seen is None else f"{seen:.1e}"
        outcome = "/".join(sorted(recorder.outcome.get(name, {"not run"})))
        print(f"{each.test}: {outcome}, largest {text}, claimed {each.measured}, allowed {each.bound}")


if __name__ == "__main__":
    main()
