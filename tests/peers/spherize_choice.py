"""Which regularization of spherizing speaks well of controls that it was not fitted on; no mechanism is looked at.

    CELLFX_DATA=/data PYTHONPATH=. .venv/bin/python tests/peers/spherize_choice.py --first 5

Half of the negative controls of every plate are drawn to fit on, the other half judges, several times. For each
candidate, means over the halves:

- misfit: negative log-density of a control that was held out, by the normal density whose covariance the map makes the
  identity, in nats per feature, less that of the best candidate; a map that drops directions has none;
- norm: mean squared length of controls held out, over that of the fitted ones; 1 where the fit shows them alike;
- sphericity: of the controls held out, 1 where their covariance is a multiple of the identity, see ``sphericity``;
- false: share of groups of controls held out, one a plate (three where there is one plate), that are told from the
  *fitted* controls of their plates at p <= .05: what a fit alone makes of wells that nothing was done to;
- still: share of a treated well's squared norm in directions in which the fitted controls do not vary;
- mAP and retrieved: mean average precision of replicates against the controls held out, and the share of treatments
  with a corrected p < .05. Replicates are wells of one compound; on the single plate of LINCS its doses.

The rule: as much spherizing as costs nothing. Of the candidates with false at most 0.05 in every data set and a mAP,
mean over data sets, that is no smaller than without spherizing, the one with the largest sphericity, mean over data
sets.
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import polars as pl

from cellfx.profiles.scores.average_precision import average_precision
from cellfx.profiles.scores.mean_average_precision import mean_average_precision
from cellfx.profiles.steps import control_directions, spherize
from cellfx.profiles.steps.fitted import assign
from cellfx.profiles.tables import reading
from cellfx.profiles.tables.table import Profiles, groups, take, take_features
from cellfx.screens import controls as profile_controls

PLATE = "Metadata_Plate"
PLAIN = "standardized, not spherized"
"""A floor above all variances; to be compared with, and no candidate."""
CANDIDATES = {
    PLAIN: {"regularization": "mean_floor", "floor": 1e6},
    **{f"pycytominer, epsilon {e:g}": {"regularization": "pycytominer", "epsilon": e} for e in (1e-12, 0.1, 1.0, 10.0)},
    "pycytominer, drop": {"regularization": "pycytominer", "unseen": "drop"},
    "ledoit_wolf": {"regularization": "ledoit_wolf"},
    "ledoit_wolf, drop": {"regularization": "ledoit_wolf", "unseen": "drop"},
    **{
        f"{kind} {share:g}": {"regularization": kind, "floor": share}
        for kind in ("mean_floor", "median_floor")
        for share in (0.1, 0.3, 1.0, 3.0, 10.0)
    },
}


def jump(folder):
    wells = reading.read(folder / "jump" / "BR*_normalized_feature_select_*.csv.gz")
    return wells, "Metadata_broad_sample", ("Metadata_control_type", "negcon"), ()


def jump_by_plate(folder):
    return (*jump(folder)[:3], (PLATE,))


def jump_few(folder):
    """More controls than features."""
    wells, *rest = jump(folder)
    return take_features(wells, wells.names[::14]), *rest


def jump_copies(folder):
    """The same features, each of them twice but for a noise of 1e-6, as tables have many before they are selected."""
    wells, *rest = jump_few(folder)
    x, rng = wells.features, np.random.default_rng(0)
    copies = x + 1e-6 * x.std(axis=0) * rng.normal(size=x.shape)
    names = (*wells.names, *(f"{name} again" for name in wells.names))
    return wells._replace(features=np.concatenate([x, copies], axis=1), names=names), *rest


def lincs(folder):
    wells = reading.read(folder / "cytominer_eval" / "SQ00015054_normalized_feature_select.csv.gz")
    return wells, "Metadata_broad_sample", ("Metadata_broad_sample", "DMSO"), ()


DATA = {
    "JUMP": jump,
    "JUMP by plate": jump_by_plate,
    "JUMP, every 14th feature": jump_few,
    "JUMP, every 14th feature and its copy": jump_copies,
    "LINCS": lincs,
}
MEASURES = ("misfit", "norm", "sphericity", "false", "still", "mAP", "retrieved")


def judged(wells, named, negatives):
    """Mean average precision of groups of rows against negatives of their plate.

    Args:
        wells: N rows.
        named: (N,) name of each row's group, None for rows in none.
        negatives: (N,) bool.
    """
    kept = negatives | np.array([name is not None for name in named])
    metadata = wells.metadata.select(PLATE).with_columns(
        pl.Series("group", [None if negative else name for name, negative in zip(named, negatives, strict=True)]),
        pl.Series("negative", negatives),
    )
    chosen = take(Profiles(wells.features, wells.names, metadata), kept)
    precision = average_precision(chosen, ["group"], [], [PLATE], ["negative"])
    return mean_average_precision(precision, chosen.metadata, ["group"])


def pretended(metadata, rows, rng):
    """(N,) groups of some rows, one from each plate, or three where there is one."""
    named, plates = np.full(len(metadata), None, object), groups(metadata, [PLATE])
    for members in plates:
        members = rng.permutation(members[rows[members]])
        for place, row in enumerate(members):
            named[row] = f"pretended {place if len(plates) > 1 else place // 3}"
    return list(named)


def sphericity(rows):
    """tr(C)^2 / (D tr(C^2)) of rows (n, D), C their mean square; tr(C^2) by pairs of different rows, without bias."""
    products = rows @ rows.T
    square = (np.sum(products**2) - np.sum(np.diag(products) ** 2)) / (len(rows) * (len(rows) - 1))
    return np.mean(np.diag(products)) ** 2 / (rows.shape[1] * square)


def measure(wells, controls, compound, by, settings, rng):
    fitted = spherize.fit(wells, controls.fitted, by=by, **settings)
    after = spherize.apply(fitted, wells)
    square, dense = np.sum(after.features**2, axis=1), np.zeros(len(after.features))
    for place, rows in assign(wells, by, fitted.labels):
        dense[rows] = np.linalg.slogdet(fitted.weights[place])[1]
    misfit = np.mean((0.5 * square - dense)[controls.held_out]) / len(wells.names)
    fake = judged(after, pretended(wells.metadata, controls.held_out, rng), controls.fitted)
    still = control_directions.stillness(fitted, wells, after, controls.fitted, ~controls.all)
    names = wells.metadata[compound].cast(pl.String).to_list()
    names = [None if control else name for name, control in zip(names, controls.all, strict=True)]
    real = judged(after, names, controls.held_out)
    return {
        "misfit": np.nan if settings.get("unseen") == "drop" else misfit,
        "norm": square[controls.held_out].mean() / square[controls.fitted].mean(),
        "sphericity": sphericity(after.features[controls.held_out]),
        "false": np.mean(fake.p_value <= 0.05),
        "still": 0.0 if still is None else still.after,
        "mAP": real.mean_average_precision.mean(),
        "retrieved": real.fraction_retrieved,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--halves", type=int, default=5, help="how often controls are halved")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="those to look at")
    parser.add_argument("--first", type=int, default=0, help="seed of the first halves; others follow")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(os.environ.get("CELLFX_DATA", "data"))
    found = np.full((len(options.data), len(CANDIDATES), options.halves, len(MEASURES)), np.nan)
    for place, data in enumerate(options.data):
        wells, compound, (column, value), by = DATA[data](folder)
        for seed in range(options.halves):
            controls = profile_controls.find(wells.metadata, PLATE, column, value, 0.5, options.first + seed)
            for row, settings in enumerate(CANDIDATES.values()):
                one = measure(wells, controls, compound, by, settings, np.random.default_rng(seed))
                found[place, row, seed] = [one[name] for name in MEASURES]
        counts = f"{int(controls.fitted.sum())} controls to fit on, {len(wells.names)} features"
        print(f"\n{data}: {counts}, means of {options.halves} halves\n")
        show(found[place])
    choose(found)


def show(found):
    """A table of (candidates, halves, measures)."""
    means = found.mean(axis=1)
    means[:, 0] -= np.nanmin(means[:, 0])
    print(f"| | {' | '.join(MEASURES)} |\n|---|{'---:|' * len(MEASURES)}")
    for name, values in zip(CANDIDATES, means, strict=True):
        cells = ["" if np.isnan(values[0]) else f"{values[0]:.2f}", f"{values[1]:.2f}"]
        print(f"| {name} | {' | '.join([*cells, *(f'{value:.3f}' for value in values[2:])])} |", flush=True)


def choose(found):
    """Says what the rule chooses, of (data sets, candidates, halves, measures)."""
    names, mean = list(CANDIDATES), found.mean(axis=2)
    precision, spherical, false = (mean[..., MEASURES.index(name)] for name in ("mAP", "sphericity", "false"))
    error = found[..., MEASURES.index("mAP")].mean(axis=0).std(axis=1, ddof=1) / np.sqrt(found.shape[2])
    precision, spherical = precision.mean(axis=0), spherical.mean(axis=0)
    harmless = np.all(false <= 0.05, axis=0)
    allowed = harmless & (precision >= precision[names.index(PLAIN)]) & (np.array(names) != PLAIN)
    print(
        "\n| over all data | mAP | standard error | sphericity | false <= 0.05 everywhere |\n|---|---:|---:|---:|---|"
    )
    for row in np.argsort(-precision):
        numbers = precision[row], error[row], spherical[row]
        cells = [*(f"{value:.4f}" for value in numbers), "yes" if harmless[row] else ""]
        print(f"| {names[row]} | {' | '.join(cells)} |")
    print(f"\nchosen: {names[max(np.flatnonzero(allowed), key=spherical.__getitem__)]}")


if __name__ == "__main__":
    main()
