"""P-values of scores on simulated screens without effects: the fast part of ``tests/peers/profile_calibration.py``."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location(
    "profile_calibration", Path(__file__).parents[1] / "peers/profile_calibration.py"
)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
SETTINGS = {one.name: one for one in peer.SETTINGS}


def shares(find, setting, num_screens, *arguments):
    """Score -> share of its p-values that are 0.05 or less."""
    found = {}
    for seed in range(num_screens):
        for name, values in find(SETTINGS[setting], seed, *arguments).items():
            found.setdefault(name, []).extend(values)
    return {name: np.mean(np.array(values) <= 0.05) for name, values in found.items()}


@pytest.mark.parametrize("setting", ["6 wells", "1 to 8 wells", "2 batches of 4 plates"])
def test_mechanisms_that_mean_nothing_are_found_in_one_compound_of_twenty(setting):
    """Wells of a compound rank as a clump: with each well as evidence of its own, up to a fifth of compounds were
    found, and some compound in most screens."""
    found = shares(peer.mechanism_p_values, setting, 30, ("retrieval",))
    assert 0.02 < found["average precision, per compound"] < 0.065
    assert found["average precision: percent retrieved"] < 0.15
    assert found["precision@R"] < 0.15


@pytest.mark.parametrize("setting", ["2 batches of 4 plates", "4 plates, 4 wells on one"])
def test_treatments_that_do_nothing_are_found_in_one_of_twenty_whatever_plates_do(setting):
    """Wells on one plate are alike for that: exchanged among all plates, every treatment of the second was found."""
    found = shares(peer.replicate_p_values, setting, 25)
    of_treatments = [found[f"{name}, per treatment"] for name in ("replicate average precision", "replicating")]
    assert all(0.02 < share < 0.075 for share in of_treatments)
    assert found["mp_values, per treatment"] < 0.075
    names = ("reproducibility", "percent replicating", "replicate average precision: percent retrieved")
    assert all(found[name] < 0.3 for name in names)
