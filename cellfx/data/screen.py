"""A screen in pictures: single nuclei from plates of compounds, doses and controls, every effect of a known size.

Every image shows a field of 64 x 64 px in the look of ``cellfx.data.synthetic``. In an untreated well these factors of
a cell are normal, independent, and limited to a range that lies 3.75 standard deviations or more away from the mean:

| factor | mean | spread | range | shifted by |
|---|---|---|---|---|
| area_px | 480 | 80 | 100 to 1200 | treatments, columns of the plate, typical variation |
| eccentricity | .55 | .1 | 0 to .95 | treatments |
| brightness | .45 | .07 | .05 to .95 | treatments, rows of the plate, batches, plates, typical variation |
| texture | .5 | .12 | 0 to 1.2 | treatments |
| neighbours | 1.5 | .4 | 0 to 3 | treatments, typical variation |
| defocus_px | 1.5 | .2 | .6 to 4 | treatments, batches, plates |
| noise | .015 | .0025 | .002 to .05 | batches, plates |

and orientation_rad, 0 to pi, x_px and y_px, -2 to 2, uniform, or all of them 0 in the pose "upright", as
``cellfx.data.images.pose`` makes photographed cells. What a well is shifted by, see ``cellfx.preprocess.plates``, is in
units of these spreads and the same for all its cells:

- mechanisms and compounds have directions of their own among the first six factors;
- batches and plates differ in the microscope: gain (brightness), focus (defocus_px) and noise, each by itself;
- brightness rises from the first row of a plate to the last, the area from the first column to the last;
- typical variation: of the stain (brightness), and of density (more neighbors, smaller nuclei).

Cells of one plate depend on each other through it, and cells of one well through that, so that plates are what
is split: of every batch, its last replicate plates are for tests, those before them for validation. Images are drawn as
``cellfx.data.simulated.drawn`` says; where a compound lies and what it does follow from the seed and the design.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from cellfx.checks import Count, Number, Pixels, Seed, checked
from cellfx.data.images.folder import nearest
from cellfx.data.images.pose import check_pose
from cellfx.data.input.hashing import uniform
from cellfx.data.simulated import nucleus
from cellfx.data.simulated.drawn import FIRST_INDEX, check_sizes, draw_split, example_seeds
from cellfx.data.source import SPLITS, Source, Split
from cellfx.preprocess.plates import CONTROL, Design, Directions, Sizes, draw_effects, draw_plates, mechanism_name

VARIED = ("area_px", "eccentricity", "brightness", "texture", "neighbours", "defocus_px", "noise")
"""Factors that wells shift, in the order of the tables below."""
FACTOR_NAMES = (*VARIED, "orientation_rad", "x_px", "y_px")
MEAN, SPREAD, LOW, HIGH = np.array(
    [
        [480, 0.55, 0.45, 0.5, 1.5, 1.5, 0.015],
        [80, 0.1, 0.07, 0.12, 0.4, 0.2, 0.0025],
        [100, 0.0, 0.05, 0.0, 0.0, 0.6, 0.002],
        [1200, 0.95, 0.95, 1.2, 3.0, 4.0, 0.05],
    ],
    np.float32,
)
"""Mean and standard deviation of the cells of an untreated well, and limits, (7,) each."""
SIZES = Sizes(mechanism=2.0, compound=0.7, batch=1.0, plate=0.3, place=1.0, typical=0.3)

_NUM_TREATED = 6  # treatments do nothing to the camera's noise, the last factor
_OFFSET_PX = 2.0
_MISSING = {"Metadata_MOA": "", "Metadata_Dose_um": math.nan}


class _Wells(NamedTuple):
    """W wells: shifts (W, 7), labels (W,) and metadata columns (W,)."""

    shifts: np.ndarray
    label: np.ndarray
    metadata: dict[str, np.ndarray]


@checked("data")
def screen(
    num_mechanisms: Count = 8,
    compounds_per_mechanism: Count = 4,
    doses_um: tuple[float, ...] = (1.0, 10.0),
    num_batches: Count = 2,
    plates_per_batch: Count = 4,
    num_controls: Number = 32,
    cells_per_well: Count = 20,
    half_effect_um: float = 1.0,
    sizes: Mapping[str, float] | None = None,
    valid_plates: Number = 1,
    test_plates: Number = 1,
    image_size: Pixels = 64,
    pose: str = "raw",
    seed: Seed = 0,
) -> Source:
    """Draws the cells of a screen: every plate has every compound at every dose once, and negative controls.

    Compounds keep their wells on all plates of a batch and are placed anew for every batch.

    Args:
        num_mechanisms: of action.
        compounds_per_mechanism: how many compounds share each.
        doses_um: concentrations in micromolar.
        num_batches: days of work.
        plates_per_batch: replicate plates of each.
        num_controls: untreated wells a plate.
        cells_per_well: images of each well.
        half_effect_um: dose with half of the full effect; potency is dose / (dose + half_effect_um).
        sizes: of the effects, in units of the spread between cells of an untreated well, by the names of
            ``cellfx.preprocess.plates.Sizes``; those that are not named are as in ``SIZES``.
        valid_plates: replicate plates of each batch to validate on.
        test_plates: replicate plates of each batch to test on.
        image_size: height and width in pixels; the field of view stays the same.
        pose: ``raw``, or ``upright`` for cells in the middle that lie along the horizontal. The mean over a well of
            what tells elongation and orientation together is nothing, so that elongation needs it.
        seed: names the screen.

    Returns:
        Source with splits train, valid and test, plate by plate and well by well: image (N, H, W, 1) uint8, label
        (N,) int32 the mechanism, 0 for controls, factors (N, F) float32. Metadata ``Metadata_Index``,
        ``Metadata_Batch``, ``Metadata_Plate``, ``Metadata_Well`` (A01 to P24), ``Metadata_Compound``, ``Metadata_MOA``
        (empty for controls), ``Metadata_Dose_um`` (NaN for controls), ``Metadata_Control`` (true for controls).

    Raises:
        ValueError: the wells do not fit on a plate, a number or dose is too small, no plate is left to train on,
            ``sizes`` names no effect or a size that is none, or an unknown pose.
    """
    check_pose(pose)
    design = Design(
        num_mechanisms, compounds_per_mechanism, doses_um, num_batches, plates_per_batch, num_controls, half_effect_um
    )
    design.check()
    held_out = {"train": plates_per_batch - valid_plates - test_plates, "valid": valid_plates, "test": test_plates}
    _check(held_out, plates_per_batch)
    wells = _draw_wells(design, held_out, _sizes(sizes or {}), seed)
    per_plate = design.num_treated + num_controls
    stops = np.cumsum([held_out[name] * num_batches * per_plate for name in SPLITS]).tolist()
    rows = dict(zip(SPLITS, map(slice, [0, *stops], stops), strict=True))
    check_sizes({name: (part.stop - part.start) * cells_per_well for name, part in rows.items()})
    return Source(
        name="screen",
        shape=(image_size, image_size, 1),
        splits={name: _split(name, wells, part, cells_per_well, image_size, pose, seed) for name, part in rows.items()},
        class_names=(CONTROL, *map(mechanism_name, range(num_mechanisms))),
        factor_names=FACTOR_NAMES,
    )


def _check(held_out: Mapping[str, int], plates_per_batch: int) -> None:
    if held_out["train"] < 1 or min(held_out.values()) < 0:
        raise ValueError(
            f"no such plates to hold out: got valid_plates={held_out['valid']} and test_plates={held_out['test']} of "
            f"{plates_per_batch} plates a batch, expected none below 0 and one plate left to train on; lower them, or "
            "raise plates_per_batch"
        )


def _sizes(given: Mapping[str, float]) -> Sizes:
    for name, size in given.items():
        if name not in Sizes._fields:
            raise ValueError(f"no such effect: got {name!r} in sizes; {nearest(str(name), Sizes._fields)}")
        if not isinstance(size, int | float) or not 0 <= size < math.inf:
            raise ValueError(f"no such size: got {name}={size!r}, expected 0 or more; change sizes.{name}")
    return SIZES._replace(**given)


def _draw_wells(design: Design, held_out: Mapping[str, int], sizes: Sizes, seed: int) -> _Wells:
    """All wells of the screen, those of the first split first."""

    def along(**weights: float) -> list[float]:
        return [weights.get(name, 0.0) for name in VARIED]

    microscope = [along(brightness=1.0), along(defocus_px=1.0), along(noise=1.0)]
    typical = [along(brightness=1.0), along(neighbours=0.8, area_px=-0.6)]
    place = [along(brightness=1.0), along(area_px=1.0)]
    directions = Directions(*map(np.array, (microscope, typical, place)))
    rng = np.random.default_rng(seed % 2**32)
    effects = np.zeros((design.num_treated, len(VARIED)))
    effects[:, :_NUM_TREATED] = draw_effects(rng, design, _NUM_TREATED, sizes)
    split_of = np.repeat(np.arange(len(SPLITS)), [held_out[name] for name in SPLITS])
    plates = sorted(
        draw_plates(rng, design, effects, directions, sizes), key=lambda plate: int(split_of[plate.replicate])
    )
    values = {name: [value for plate in plates for value in plate.metadata[name]] for name in plates[0].metadata}
    return _Wells(
        np.concatenate([plate.shifts for plate in plates]).astype(np.float32),
        np.concatenate([plate.mechanism for plate in plates]).astype(np.int32) + 1,
        {name: np.array([_MISSING.get(name) if v is None else v for v in column]) for name, column in values.items()},
    )


def _split(name: str, wells: _Wells, rows: slice, cells_per_well: int, image_size: int, pose: str, seed: int) -> Split:
    size = (rows.stop - rows.start) * cells_per_well
    block = functools.partial(
        _block,
        shifts=wells.shifts,
        first=np.uint32(FIRST_INDEX[name] - rows.start * cells_per_well),
        cells_per_well=np.uint32(cells_per_well),
        image_size=image_size,
        pose=pose,
    )
    numbers, images, factors = draw_split(block, name, size, seed)
    columns = {column: np.repeat(values[rows], cells_per_well) for column, values in wells.metadata.items()}
    return Split(
        num_examples=size,
        arrays={"x": images, "label": np.repeat(wells.label[rows], cells_per_well), "factors": factors},
        metadata={"Metadata_Index": numbers, **columns},
    )


@functools.partial(jax.jit, static_argnames=("image_size", "pose"))
def _block(
    indices: jax.Array,
    seed: jax.Array,
    shifts: jax.Array,
    first: jax.Array,
    cells_per_well: jax.Array,
    image_size: int,
    pose: str,
) -> tuple[jax.Array, jax.Array]:
    """Cells with the numbers ``indices``; ``first`` is that of the first cell of the first well in ``shifts``."""
    seeds = example_seeds(indices, seed)
    of_well = jnp.asarray(shifts)[(indices - first) // cells_per_well]
    factors = jax.vmap(functools.partial(_draw_factors, pose=pose))(seeds, of_well)
    columns = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    images = jax.vmap(functools.partial(nucleus.draw, image_size=image_size))(columns, seeds)
    return images[..., None], factors


def _draw_factors(seed: jax.Array, shift: jax.Array, pose: str) -> jax.Array:
    *drawn, turn, right, down = uniform(seed, len(FACTOR_NAMES), stream=1)
    # 0, which the normal distribution does not reach, is drawn once in 2^24 times.
    normal = ndtri(jnp.maximum(jnp.stack(drawn), 2.0**-25))
    varied = jnp.clip(MEAN + SPREAD * (shift + normal), LOW, HIGH)
    other = jnp.stack([math.pi * turn, _OFFSET_PX * (2.0 * right - 1.0), _OFFSET_PX * (2.0 * down - 1.0)])
    return jnp.concatenate([varied, jnp.zeros_like(other) if pose == "upright" else other])
