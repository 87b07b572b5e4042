"""Screens with known effects: which wells of which plates get what, and how strong each effect on a well is.

Written once for screens of profiles (``cellfx.profiles.tables.simulated``) and of images (``cellfx.data.screen``). A
well is shifted by a sum of independent parts,

    mechanism x potency(dose) + compound x potency(dose) + batch + plate + place + typical variation

Typical variation (Ando et al. 2017, doi:10.1101/161422) is what untreated wells do anyway, as with cell density or
staining.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

ROWS, COLUMNS = 16, 24
"""A 384-well plate."""
CONTROL = "DMSO"


class Sizes(NamedTuple):
    """Standard deviations or lengths of the parts of a shift, in the unit that who draws the screen says.

    Attributes:
        mechanism: length of what compounds of one mechanism share, at full potency.
        compound: length of what each compound does beside, at full potency.
        batch: standard deviation between batches along each direction in which they differ.
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


class Design(NamedTuple):
    """What is on the plates: every plate has every compound at every dose once, and negative controls.

    Attributes:
        num_mechanisms: of action.
        compounds_per_mechanism: how many compounds share each.
        doses_um: concentrations in micromolar.
        num_batches: days of work.
        plates_per_batch: replicate plates of each.
        num_controls: untreated wells a plate.
        half_effect_um: dose with half of the full effect; potency is dose / (dose + half_effect_um).
    """

    num_mechanisms: int
    compounds_per_mechanism: int
    doses_um: tuple[float, ...]
    num_batches: int
    plates_per_batch: int
    num_controls: int
    half_effect_um: float

    @property
    def num_treated(self) -> int:
        """Wells of a plate that are treated."""
        return self.num_mechanisms * self.compounds_per_mechanism * len(self.doses_um)

    def check(self) -> None:
        """Raises a ValueError for a screen without wells, for doses that are none, or wells that fit on no plate."""
        for name in ("num_mechanisms", "compounds_per_mechanism", "num_batches", "plates_per_batch", "num_controls"):
            least = 0 if name == "num_controls" else 1
            if getattr(self, name) < least:
                raise ValueError(f"too few {name}: got {getattr(self, name)}, expected {least} or more; raise {name}")
        if not self.doses_um or not all(0 < dose < np.inf for dose in (*self.doses_um, self.half_effect_um)):
            raise ValueError(
                f"no such doses: got doses_um={self.doses_um} and half_effect_um={self.half_effect_um}, expected "
                "one dose or more and all of them above 0; correct them"
            )
        if self.num_treated + self.num_controls > ROWS * COLUMNS:
            raise ValueError(
                f"the wells do not fit on a plate: got {self.num_treated} treated and {self.num_controls} controls, "
                f"expected at most {ROWS * COLUMNS}; lower the number of compounds, doses or controls"
            )


class Directions(NamedTuple):
    """Along what the wells of a screen differ, whatever they are treated with.

    Attributes:
        batch: (b, D) unit rows, of batches and plates.
        typical: (t, D) unit rows, of single wells.
        place: (2, D) unit rows, from the first row of a plate to the last, and from the first column.
    """

    batch: np.ndarray
    typical: np.ndarray
    place: np.ndarray


class Plate(NamedTuple):
    """One plate; treated wells come first, in the order of mechanisms, compounds and doses, then controls.

    Attributes:
        replicate: its number in its batch, from 0.
        mechanism: (W,) int of each well, from 0; -1 for controls.
        shifts: (W, D) float64.
        metadata: column -> W values, None where controls have none: ``Metadata_MOA``, ``Metadata_Compound``,
            ``Metadata_Dose_um``, ``Metadata_Control``, ``Metadata_Batch``, ``Metadata_Plate``, ``Metadata_Well`` (A01
            to P24).
    """

    replicate: int
    mechanism: np.ndarray
    shifts: np.ndarray
    metadata: dict[str, list]


def draw_effects(rng: np.random.Generator, design: Design, num_directions: int, sizes: Sizes) -> np.ndarray:
    """What every treatment does: directions of mechanisms and compounds, drawn evenly, as long as potency has them.

    Args:
        rng: of the directions.
        design: of the screen.
        num_directions: D.
        sizes: ``mechanism`` and ``compound`` are read.

    Returns:
        (treated wells of a plate, D).
    """
    mechanism, compound, dose_um = _treatments(design)
    of_mechanism = sizes.mechanism * _unit(rng.normal(size=(mechanism.max() + 1, num_directions)))[mechanism]
    of_compound = sizes.compound * _unit(rng.normal(size=(compound.max() + 1, num_directions)))[compound]
    return (of_mechanism + of_compound) * (dose_um / (dose_um + design.half_effect_um))[:, None]


def draw_gradients(rng: np.random.Generator, num_directions: int) -> np.ndarray:
    """Two directions (2, D) for ``Directions.place``."""
    return _unit(rng.normal(size=(2, num_directions)))


def draw_plates(
    rng: np.random.Generator, design: Design, effects: np.ndarray, directions: Directions, sizes: Sizes
) -> Iterator[Plate]:
    """The plates of a screen, batch by batch.

    Treatments keep their wells on all plates of a batch, as plate maps do, and are placed anew for every batch.

    Args:
        rng: of places and sizes; more batches do not change the first ones.
        design: of the screen.
        effects: (treated wells of a plate, D), see ``draw_effects``.
        directions: of everything else.
        sizes: of everything else.
    """
    treated = np.concatenate([effects, np.zeros((design.num_controls, effects.shape[1]))])
    for batch in range(design.num_batches):
        wells = rng.permutation(ROWS * COLUMNS)[: len(treated)]
        of_batch = sizes.batch * rng.normal(size=len(directions.batch))
        places = np.stack([wells // COLUMNS / (ROWS - 1), wells % COLUMNS / (COLUMNS - 1)], axis=1) - 0.5
        for replicate in range(design.plates_per_batch):
            of_plate = of_batch + sizes.plate * rng.normal(size=len(directions.batch))
            typical = sizes.typical * rng.normal(size=(len(wells), len(directions.typical)))
            shifts = treated + of_plate @ directions.batch + typical @ directions.typical
            shifts += sizes.place * places @ directions.place
            yield _plate(design, shifts, wells, batch, replicate)


def _treatments(design: Design) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mechanism and compound, from 0, and dose of the treated wells of a plate."""
    compound = np.repeat(np.arange(design.num_mechanisms * design.compounds_per_mechanism), len(design.doses_um))
    dose_um = np.tile(np.array(design.doses_um, np.float64), design.num_treated // len(design.doses_um))
    return compound // design.compounds_per_mechanism, compound, dose_um


def _plate(design: Design, shifts: np.ndarray, wells: np.ndarray, batch: int, replicate: int) -> Plate:
    mechanism, compound, dose_um = _treatments(design)
    nothing = [None] * design.num_controls
    metadata = {
        "Metadata_MOA": [*(mechanism_name(number) for number in mechanism), *nothing],
        "Metadata_Compound": [*(f"compound {number + 1:03d}" for number in compound), *[CONTROL] * len(nothing)],
        "Metadata_Dose_um": [*dose_um.tolist(), *nothing],
        "Metadata_Control": [False] * len(compound) + [True] * len(nothing),
        "Metadata_Batch": [f"batch {batch + 1}"] * len(wells),
        "Metadata_Plate": [f"plate {batch + 1}-{replicate + 1}"] * len(wells),
        "Metadata_Well": [f"{'ABCDEFGHIJKLMNOP'[well // COLUMNS]}{well % COLUMNS + 1:02d}" for well in wells],
    }
    return Plate(replicate, np.concatenate([mechanism, np.full(len(nothing), -1)]), shifts, metadata)


def mechanism_name(number: int) -> str:
    """What a mechanism is called, counted from 0."""
    return f"mechanism {number + 1:02d}"


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
