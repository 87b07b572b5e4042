"""A screen whose effects are known: compounds, doses, mechanisms, plates, batches and places, each of a given size.

A well's profile is a sum of independent parts, in units of the noise of a well,

    mechanism x potency(dose) + compound x potency(dose) + batch + plate + place + typical variation + noise

Typical variation (Ando et al. 2017, doi:10.1101/161422) is what untreated wells do anyway: a few directions in which
all wells vary much, as with cell density or staining. Batches and plates differ along the same few directions; that is
what spherizing on negative controls finds and takes out.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from cellfx.profiles.table import Profiles

ROWS, COLUMNS = 16, 24
"""A 384-well plate."""
CONTROL = "DMSO"


class Sizes(NamedTuple):
    """Standard deviations or lengths of the parts of a profile, in units of a well's noise.

    Attributes:
        mechanism: length of what compounds of one mechanism share, at full potency.
        compound: length of what each compound does beside, at full potency.
        batch: standard deviation between batches along each direction of typical variation.
        plate: the same between plates of a batch.
        place: difference between the first and last row, and column, of a plate, along one direction each.
        typical: standard deviation of wells along each direction of typical variation.
    """

    mechanism: float = 6.0
    compound: float = 3.0
    batch: float = 4.0
    plate: float = 1.0
    place: float = 2.0
    typical: float = 3.0


def simulated(
    num_mechanisms: int = 12,
    compounds_per_mechanism: int = 4,
    doses_um: tuple[float, ...] = (10.0,),
    num_batches: int = 3,
    plates_per_batch: int = 3,
    num_controls: int = 64,
    num_features: int = 100,
    num_typical: int = 6,
    half_effect_um: float = 1.0,
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Profiles:
    """Draws the wells of a screen: every plate has every compound at every dose once, and negative controls.

    Compounds keep their wells on all plates of a batch, as plate maps do, and are placed anew for every batch.

    Args:
        num_mechanisms: of action.
        compounds_per_mechanism: how many compounds share each.
        doses_um: concentrations in micromolar.
        num_batches: days of work.
        plates_per_batch: replicate plates of each.
        num_controls: untreated wells a plate.
        num_features: D.
        num_typical: directions of typical variation.
        half_effect_um: dose with half of the full effect; potency is dose / (dose + half_effect_um).
        sizes: of the effects.
        seed: names the screen.

    Returns:
        N = batches x plates x (compounds x doses + controls) wells with ``Metadata_Batch``, ``Metadata_Plate``,
        ``Metadata_Well`` (A01 to P24), ``Metadata_Compound``, ``Metadata_MOA`` and ``Metadata_Dose_um`` (null for
        controls), ``Metadata_Control`` (true for controls).

    Raises:
        ValueError: the wells do not fit on a plate, or there are fewer features than directions.
    """
    sizes = sizes or Sizes()
    num_treated = num_mechanisms * compounds_per_mechanism * len(doses_um)
    if num_treated + num_controls > ROWS * COLUMNS:
        raise ValueError(
            f"the wells do not fit on a plate: got {num_treated} treated and {num_controls} controls, expected at most "
            f"{ROWS * COLUMNS}; lower the number of compounds, doses or controls"
        )
    if num_features < num_typical + 2:
        raise ValueError(
            f"too few features: got {num_features}, expected at least num_typical + 2 = {num_typical + 2}; raise "
            "num_features"
        )
    rng = np.random.default_rng(seed)
    typical = np.linalg.qr(rng.normal(size=(num_features, num_typical)))[0].T
    treatments = _treatments(num_mechanisms, compounds_per_mechanism, doses_um)
    effects = _effects(rng, treatments, num_features, half_effect_um, sizes)
    gradients = _unit(rng.normal(size=(2, num_features)))
    parts, tables = [], []
    for batch in range(num_batches):
        wells = rng.permutation(ROWS * COLUMNS)[: num_treated + num_controls]
        of_batch = sizes.batch * rng.normal(size=num_typical)
        places = np.stack([wells // COLUMNS / (ROWS - 1), wells % COLUMNS / (COLUMNS - 1)], axis=1) - 0.5
        for plate in range(plates_per_batch):
            shift = of_batch + sizes.plate * rng.normal(size=num_typical)
            along = shift + sizes.typical * rng.normal(size=(len(wells), num_typical))
            treated = np.concatenate([effects, np.zeros((num_controls, num_features))])
            noise = rng.normal(size=(len(wells), num_features))
            parts.append(treated + along @ typical + sizes.place * places @ gradients + noise)
            tables.append(_described(treatments, num_controls, wells, batch, plate))
    names = tuple(f"feature_{i:03d}" for i in range(num_features))
    return Profiles(np.concatenate(parts), names, pl.concat(tables))


def _treatments(num_mechanisms: int, compounds_per_mechanism: int, doses_um: tuple[float, ...]) -> pl.DataFrame:
    rows = [
        (f"mechanism {m + 1:02d}", f"compound {m * compounds_per_mechanism + c + 1:03d}", float(dose))
        for m in range(num_mechanisms)
        for c in range(compounds_per_mechanism)
        for dose in doses_um
    ]
    schema = {"Metadata_MOA": pl.String, "Metadata_Compound": pl.String, "Metadata_Dose_um": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _effects(
    rng: np.random.Generator, treatments: pl.DataFrame, num_features: int, half_effect_um: float, sizes: Sizes
) -> np.ndarray:
    dose = treatments["Metadata_Dose_um"].to_numpy()
    total = np.zeros((len(treatments), num_features))
    for column, size in (("Metadata_MOA", sizes.mechanism), ("Metadata_Compound", sizes.compound)):
        code = treatments[column].rank("dense").to_numpy() - 1
        total += size * _unit(rng.normal(size=(int(code.max()) + 1, num_features)))[code]
    return total * (dose / (dose + half_effect_um))[:, None]


def _described(treatments: pl.DataFrame, num_controls: int, wells: np.ndarray, batch: int, plate: int) -> pl.DataFrame:
    nothing = pl.DataFrame({"Metadata_Compound": [CONTROL] * num_controls})
    table = pl.concat([treatments, nothing], how="diagonal")
    return table.with_columns(
        Metadata_Control=pl.col("Metadata_Compound") == CONTROL,
        Metadata_Batch=pl.lit(f"batch {batch + 1}"),
        Metadata_Plate=pl.lit(f"plate {batch + 1}-{plate + 1}"),
        Metadata_Well=pl.Series([f"{'ABCDEFGHIJKLMNOP'[well // COLUMNS]}{well % COLUMNS + 1:02d}" for well in wells]),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
