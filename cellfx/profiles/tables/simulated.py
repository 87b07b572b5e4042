"""A screen whose effects are known: compounds, doses, mechanisms, plates, batches and places, each of a given size.

A well's profile is its shift, see ``cellfx.preprocess.plates``, and noise; sizes are in units of the noise of a well.
There are a few directions in which all wells vary much. Batches and plates differ along the same few directions; that
is what spherizing on negative controls finds and takes out.
"""

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.preprocess.plates import Design, Directions, Sizes, draw_effects, draw_gradients, draw_plates
from cellfx.profiles.tables.table import Profiles


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
    design = Design(
        num_mechanisms, compounds_per_mechanism, doses_um, num_batches, plates_per_batch, num_controls, half_effect_um
    )
    design.check()
    if num_features < num_typical + 2:
        raise UserError(
            f"too few features: got {num_features}, expected at least num_typical + 2 = {num_typical + 2}; raise "
            "num_features"
        )
    rng = np.random.default_rng(seed)
    typical = np.linalg.qr(rng.normal(size=(num_features, num_typical)))[0].T
    effects = draw_effects(rng, design, num_features, sizes)
    directions = Directions(typical, typical, draw_gradients(rng, num_features))
    parts, tables = [], []
    for plate in draw_plates(rng, design, effects, directions, sizes):
        parts.append(plate.shifts + rng.normal(size=plate.shifts.shape))
        tables.append(pl.DataFrame(plate.metadata))
    names = tuple(f"feature_{i:03d}" for i in range(num_features))
    return Profiles(np.concatenate(parts), names, pl.concat(tables))
