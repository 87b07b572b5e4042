"""How often each score's p-value is 0.05 or less on simulated screens without effects, and what its intervals cover.

A well-calibrated p-value is 0.05 or less in 5 % of the screens, and a 95 % interval covers the expected score in 95 %.
The expected score is the mean over all screens of a kind: a larger screen has more candidates, so that most scores of
it are of something else.
Compounds get their mechanisms at random. Scores of replicates are judged on screens in which no compound does
anything; scores of mechanisms on screens in which each compound does something of its own, so that its wells rank as
a clump.

    PYTHONPATH=. .venv/bin/python tests/peers/profile_calibration.py
    PYTHONPATH=. .venv/bin/python tests/peers/profile_calibration.py --screens 20 --settings "6 wells" --covered
    PYTHONPATH=. .venv/bin/python tests/peers/profile_calibration.py --screens 1000 --retrieval --covered
"""

import argparse
import collections
import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.screen.score import score
from cellfx.profiles.screen.scoring import Effort, Scores
from cellfx.profiles.tables.table import Profiles
from cellfx.screens import scores
from cellfx.screens.setting import Asked

EFFORT = Effort((1, 5), (0.98,), num_permutations=99, num_resamples=200, num_mp_permutations=99, null_size=999)
COLUMNS = Columns(("Metadata_Compound",), "Metadata_Compound", "Metadata_MOA", batch="Metadata_Batch")
OF_MECHANISMS = ("retrieval", "enrichment", "grit", "NSC", "NSCB", "percent matching")
OF_REPLICATES = ("replicates", "reproducibility", "percent replicating", "mp-values")
KERNEL, BATCHES = "cosine", 2


class Setting(NamedTuple):
    """A kind of screen.

    Attributes:
        name: in the table.
        wells: of each compound on each plate that has it; cycled through where compounds have unequal numbers.
        plates: of the screen.
        on_one: whether each compound is on one of the plates only.
        doses: whether a compound's wells are of rising dose, so that its effect grows from well to well.
        compounds: of the screen, four for each mechanism.
        same_plates: whether all screens have the same plates and batches, which intervals are not about.
    """

    name: str
    wells: tuple[int, ...]
    plates: int = 1
    on_one: bool = False
    doses: bool = False
    compounds: int = 24
    same_plates: bool = False


SETTINGS = (
    Setting("1 well", (1,), compounds=48),
    Setting("4 doses", (4,), doses=True),
    Setting("6 wells", (6,)),
    Setting("1 to 8 wells", (1, 2, 3, 5, 8)),
    Setting("4 plates", (1,), plates=4),
    Setting("2 batches of 4 plates", (1,), plates=8),
    Setting("4 plates, 4 wells on one", (4,), plates=4, on_one=True),
)
COVERED = (
    Setting("6 wells, 12 mechanisms", (6,), compounds=48),
    Setting("4 plates, 12 mechanisms", (1,), plates=4, compounds=48, same_plates=True),
    Setting("4 new plates, 12 mechanisms", (1,), plates=4, compounds=48),
    Setting("1 well, 40 mechanisms", (1,), compounds=160),
)


def screen(
    setting: Setting,
    seed: int,
    compound: float = 0.0,
    mechanism: float = 0.0,
    plate: float = 0.5,
    batch: float = 0.5,
    num_controls: int = 48,
    features: int = 30,
) -> tuple[Profiles, np.ndarray]:
    """Wells of a screen, and which are controls; effects are standard deviations of a feature, as is the noise of 1.

    Batches and plates differ only where there are several plates. Every second plate is of the second batch; on one
    plate, every second well is.
    """
    rng = np.random.default_rng([seed, *setting.name.encode()])
    which, on = _layout(setting, max(num_controls // setting.plates, 12))
    is_control = which < 0
    moa = rng.permutation(setting.compounds) // 4
    of_compound = compound * rng.normal(size=(setting.compounds, features))
    of_compound += mechanism * rng.normal(size=(moa.max() + 1, features))[moa]
    potency = (_nth(which, setting) + 1) / 4 if setting.doses else np.ones(len(which))
    x = rng.normal(size=(len(which), features)) + np.where(is_control, 0.0, potency)[:, None] * of_compound[which]
    in_batch = (on if setting.plates > 1 else np.arange(len(which))) % BATCHES
    if setting.plates > 1:
        of_plates = np.random.default_rng(0) if setting.same_plates else rng
        x += plate * of_plates.normal(size=(setting.plates, features))[on]
        x += batch * of_plates.normal(size=(BATCHES, features))[in_batch]
    table = {
        "Metadata_Compound": [None if c < 0 else f"c{c}" for c in which],
        "Metadata_MOA": [None if c < 0 else f"m{moa[c]}" for c in which],
        "Metadata_Plate": [f"p{number}" for number in on],
        "Metadata_Batch": [f"b{number}" for number in in_batch],
    }
    return Profiles(x, tuple(f"f{i}" for i in range(features)), pl.DataFrame(table)), is_control


def _layout(setting: Setting, num_controls: int) -> tuple[np.ndarray, np.ndarray]:
    """Compound of each well, -1 for controls, and its plate."""
    numbers, home = np.resize(setting.wells, setting.compounds), np.arange(setting.compounds) % setting.plates
    plates = []
    for plate in range(setting.plates):
        here = np.where(home == plate, numbers, 0) if setting.on_one else numbers
        plates.append(np.append(np.repeat(np.arange(setting.compounds), here), np.full(num_controls, -1)))
    return np.concatenate(plates), np.repeat(np.arange(setting.plates), [len(wells) for wells in plates])


def mechanism_p_values(setting: Setting, seed: int, wanted: tuple[str, ...] = OF_MECHANISMS) -> dict[str, list[float]]:
    """Score -> its p-values where every compound does something, and mechanisms nothing."""
    profiles, controls = screen(setting, seed, compound=2.0)
    found = score(profiles, controls, COLUMNS, KERNEL, EFFORT, wanted)
    return _listed(found.p_values) | _of_groups(found, {"average precision": "compound"})


def replicate_p_values(setting: Setting, seed: int) -> dict[str, list[float]]:
    """The same where no compound does anything, and plates and batches differ."""
    profiles, controls = screen(setting, seed)
    found = score(profiles, controls, COLUMNS, KERNEL, EFFORT, OF_REPLICATES)
    groups = ("replicate average precision", "replicating", "mp_values")
    of_groups = _of_groups(found, dict.fromkeys(groups, "treatment"))
    return _listed(found.p_values) | of_groups | _against_controls(profiles, controls)


def batch_p_values(setting: Setting, seed: int) -> dict[str, list[float]]:
    """The same where plates differ, and batches do not."""
    if setting.plates == 1:
        return {}
    profiles, controls = screen(setting, seed, batch=0.0)
    return _listed(score(profiles, controls, COLUMNS, KERNEL, EFFORT, ("batch enrichment",)).p_values)


def _against_controls(profiles: Profiles, controls: np.ndarray) -> dict[str, list[float]]:
    """Of replicates against the controls of their plate."""
    made = scores.Variant("", profiles, controls, profiles)
    try:
        _, found, _ = scores.replicates(made, COLUMNS, Asked(KERNEL, effort=EFFORT))
    except ValueError:
        return {}
    return {name: [one["p_value"]] for name, one in found.items()}


def _of_groups(found: Scores, wanted: dict[str, str]) -> dict[str, list[float]]:
    """P-values of single groups, of details that have them."""
    return {
        f"{name}, per {kind}": found.details[name].p_value.tolist()
        for name, kind in wanted.items()
        if name in found.details
    }


def _nth(which: np.ndarray, setting: Setting) -> np.ndarray:
    """Of how many wells of its compound each one is the next."""
    nth = np.zeros(len(which), int)
    for number in range(setting.compounds):
        nth[which == number] = np.arange(np.sum(which == number))
    return nth


def _listed(values: dict[str, float]) -> dict[str, list[float]]:
    return {name: [value] for name, value in values.items()}


def estimates(setting: Setting, seed: int) -> dict[str, tuple[float, float, float, np.ndarray | None]]:
    """Score -> value, ends of its interval, and the table of an odds ratio, in a screen with effects."""
    profiles, controls = screen(setting, seed, compound=0.7, mechanism=0.7)
    found = score(profiles, controls, COLUMNS, KERNEL, EFFORT)
    tables = {f"enrichment@{one.percentile:g}": one.table for one in found.details["enrichment"]}
    if "batch_enrichment" in found.details:
        tables["batch enrichment"] = found.details["batch_enrichment"].table
    known = {name: (*interval, tables.get(name)) for name, interval in found.intervals.items()}
    if setting.plates == 1 and set(setting.wells) == {1}:
        return known
    made = scores.Variant("", profiles, controls, profiles)
    _, published, _ = scores.replicates(made, COLUMNS, Asked(KERNEL, effort=EFFORT))
    return known | {name: (one["value"], *one["interval"], None) for name, one in published.items()}


def coverage(values: list[tuple[float, float, float, np.ndarray | None]]) -> float:
    """Share of the intervals that have the mean over screens in them; for odds, the odds of all pairs together."""
    value, low, high, table = zip(*values, strict=True)
    truth = np.mean(value)
    if table[0] is not None:
        (a, b), (c, d) = np.sum(table, axis=0).astype(float)
        truth = a * d / (b * c) if b * c else np.inf
    return float(np.mean((np.array(low) <= truth) & (truth <= np.array(high))))


def collected(settings: Sequence[Setting], num_screens: int, find: Callable) -> dict[str, dict[str, list]]:
    """Setting -> score -> what was found of it in all screens, saying how far it is."""
    found = {}
    for setting in settings:
        start, values = time.perf_counter(), found.setdefault(setting.name, collections.defaultdict(list))
        for seed in range(num_screens):
            for name, each in find(setting, seed).items():
                values[name] += each
            if (seed + 1) % 25 == 0 or seed + 1 == num_screens:
                seconds = time.perf_counter() - start
                print(
                    f"{setting.name}: {seed + 1} of {num_screens} screens, {seconds:.0f} s", file=sys.stderr, flush=True
                )
    return found


def all_p_values(setting: Setting, seed: int) -> dict[str, list[float]]:
    """Those of all scores in a screen without effects."""
    kinds = mechanism_p_values, replicate_p_values, batch_p_values
    return {name: values for kind in kinds for name, values in kind(setting, seed).items()}


def show(shares: dict[str, dict[str, float]]) -> None:
    """A table of percents, a column for each setting."""
    print("| score | " + " | ".join(shares) + " |")
    print("|---|" + "---|" * len(shares))
    for name in dict.fromkeys(name for each in shares.values() for name in each):
        cells = [f"{100 * each[name]:.1f}" if name in each else "" for each in shares.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screens", type=int, default=200)
    parser.add_argument("--settings", nargs="*", default=[one.name for one in SETTINGS], help="of p-values")
    parser.add_argument("--covered", nargs="*", default=[one.name for one in COVERED], help="of intervals")
    parser.add_argument("--retrieval", action="store_true", help="p-values of the retrieval of mechanisms only: fast")
    arguments = parser.parse_args()
    settings = [one for one in SETTINGS if one.name in arguments.settings]
    covered = [one for one in COVERED if one.name in arguments.covered]
    if settings:
        of_retrieval = functools.partial(mechanism_p_values, wanted=("retrieval",))
        found = collected(settings, arguments.screens, of_retrieval if arguments.retrieval else all_p_values)
        print(f"Percent of p-values that are 0.05 or less, {arguments.screens} screens without effects\n")
        show({of: {name: np.mean(np.array(v) <= 0.05) for name, v in each.items()} for of, each in found.items()})
    if covered:
        found = collected(covered, arguments.screens, lambda *which: {k: [v] for k, v in estimates(*which).items()})
        print(f"\nPercent of the 95 % intervals that have the expected score in them, {arguments.screens} screens\n")
        show({of: {name: coverage(values) for name, values in each.items()} for of, each in found.items()})


if __name__ == "__main__":
    main()
