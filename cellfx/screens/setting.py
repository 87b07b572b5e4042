"""What is asked of profiles: the config sections ``scores`` and ``pictures`` of ``bin/profile``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cellfx.checks import UserError
from cellfx.profiles.screen.scoring import Effort, check_effort
from cellfx.profiles.similarity.blocks import KERNELS
from cellfx.settings import call, check_call, nearest

EFFORT = Effort(ks=(1, 5, 10, 20, 50), percentiles=(0.97, 0.975, 0.98, 0.985, 0.99, 0.995))
"""Percentiles are those that Bornholdt 2021 draws."""


class Asked(NamedTuple):
    """The config section ``scores``, which also has the fields of ``profiles.screen.scoring.Effort``.

    Attributes:
        similarity: kernel of all scores, see ``profiles.similarity.blocks.KERNELS``.
        replicates: whether treatments have several wells, to be scored against negative controls.
        strong_rate: share of the treatments that have a strong phenotype; the thesis takes 450 of 1,144.
        num_top_mechanisms: largest mechanisms that are a subset.
        effort: how much is computed.
    """

    similarity: str = "cosine"
    replicates: bool = True
    strong_rate: float = 0.4
    num_top_mechanisms: int = 50
    effort: Effort = EFFORT


class Pictures(NamedTuple):
    """The config section ``pictures``: what the report shows beside the scores.

    Attributes:
        nearest: treatments that are listed as most like a treatment; 0 leaves the list out.
        treatments: those it is listed for; none: one of each of the largest mechanisms.
        map: whether treatments are laid out by t-SNE.
        plates: features or metadata columns of wells that are drawn on a plate.
        by_plate: whether on each plate, or averaged over them.
        cells: table of single cells whose pictures are shown beside the list, with a column ``Metadata_File``.
        root: folder that these files are named from.
    """

    nearest: int = 5
    treatments: tuple[str, ...] = ()
    map: bool = False
    plates: tuple[str, ...] = ()
    by_plate: bool = False
    cells: str | None = None
    root: str | None = None


def pictures(settings: Mapping[str, Any]) -> Pictures:
    """The config section ``pictures``.

    Raises:
        ValueError: a key that is none, a value of the wrong type, or cells without the folder of their files.
    """
    found = call(Pictures, "pictures", settings)
    if found.nearest < 0 or (found.cells is None) != (found.root is None):
        raise UserError(
            f"pictures that cannot be drawn: got pictures.nearest {found.nearest}, pictures.cells {found.cells} and "
            f"pictures.root {found.root}, expected 0 or more, and a table of cells with the folder of their files; "
            "correct them"
        )
    return found


def asked(settings: Mapping[str, Any]) -> Asked:
    """The config section ``scores``.

    Raises:
        ValueError: a key that is none, a value of the wrong type or too small, an unknown similarity, or subsets of
            none or all.
    """
    own = [name for name in Asked._fields if name != "effort"]
    unknown = [name for name in settings if name not in (*own, *Effort._fields)]
    if unknown:
        raise UserError(f"unknown config key scores.{unknown[0]}; {nearest(unknown[0], [*own, *Effort._fields])}")
    effort = {name: value for name, value in settings.items() if name in Effort._fields}
    rest = {name: value for name, value in settings.items() if name in own}
    check_call(Effort, "scores", effort)
    check_call(Asked, "scores", rest)
    found = Asked(**rest, effort=EFFORT._replace(**effort))
    check_effort(found.effort)
    if found.similarity not in KERNELS:
        raise UserError(f"unknown scores.similarity {found.similarity!r}; {nearest(found.similarity, list(KERNELS))}")
    if not 0 < found.strong_rate < 1 or found.num_top_mechanisms < 1:
        raise UserError(
            f"subsets of none or all: got scores.strong_rate {found.strong_rate} and scores.num_top_mechanisms "
            f"{found.num_top_mechanisms}, expected a share in (0, 1) and 1 mechanism or more; correct them"
        )
    return found
