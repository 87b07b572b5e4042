"""Who is nearest to whom: treatments and those most like them, as a table and as pictures of the cells of both."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from cellfx.checks import UserError
from cellfx.data.images.folder import nearest as nearest_name
from cellfx.findings.page import Figure
from cellfx.profiles.scores.nearest import neighbours_of, rows_named
from cellfx.profiles.screen.rules import Columns
from cellfx.profiles.similarity.blocks import defined
from cellfx.profiles.tables.table import Profiles, take
from cellfx.report.charts import style
from cellfx.report.page import Table

KERNEL = "pearson"
"""As in the clustering of treatments."""
NUM_SHOWN = 5
"""Treatments whose neighbors are listed where none are named."""
LETTERS = 40
"""Of a name beside images."""
TREATMENT = "treatment"
"""No column of metadata has this name: all of them start with ``Metadata_``."""


def nearest(treated: Profiles, columns: Columns, treatments: Sequence[str] = (), k: int = 5) -> pl.DataFrame:
    """The treatments most like some of them.

    Args:
        treated: N treatments; rows of one treatment are averaged over.
        columns: of the metadata.
        treatments: names; where several columns make a treatment, their values with " · " between. None: the first by
            name of each of the largest mechanisms, or the first of all where no mechanism is known.
        k: neighbors of each.

    Returns:
        Up to k rows a treatment, nearest first: ``treatment``, ``mechanism``, ``neighbour``, ``similarity`` (Pearson),
        ``neighbour_mechanism`` and ``same`` (bool, the same known mechanism). Mechanisms are null where not known.

    Raises:
        ValueError: no such treatment, or k below 1; as ``similarity.prepare``.
    """
    if k < 1:
        raise UserError(f"no number of neighbors: got k={k}, expected 1 or more; raise it")
    metadata = treated.metadata.with_columns(_treatment(columns)).with_columns(_mechanism(columns))
    treated, parts = treated._replace(metadata=metadata), []
    for name in treatments or _first_of_mechanisms(metadata):
        near = neighbours_of(treated, TREATMENT, name, k, KERNEL)
        own = metadata.filter(pl.col(TREATMENT) == name)["mechanism"][0]
        parts.append(
            near.select(
                pl.lit(name).alias("treatment"),
                pl.lit(own, pl.String).alias("mechanism"),
                pl.col(TREATMENT).alias("neighbour"),
                "similarity",
                pl.col("mechanism").alias("neighbour_mechanism"),
                (pl.col("mechanism") == pl.lit(own, pl.String)).fill_null(False).alias("same"),
            )
        )
    return pl.concat(parts)


def check_treatments(treated: Profiles, columns: Columns, treatments: Sequence[str]) -> None:
    """Looks whether treatments have the names that ``nearest`` is asked for.

    Raises:
        ValueError: the first that none has.
    """
    metadata = treated.metadata.select(_treatment(columns))
    for name in treatments:
        rows_named(metadata, TREATMENT, name)


def names_of(treated: Profiles, columns: Columns) -> list[str]:
    """Names (N,) of treatments, as ``nearest`` gives them."""
    return treated.metadata.select(_treatment(columns)).to_series().to_list()


def correlated(treated: Profiles, left_out: dict[str, str]) -> Profiles:
    """Treatments that have a Pearson correlation, by which pictures compare; how many have none is said.

    Args:
        treated: N treatments; euclidean similarities take all, cosines also constant profiles.
        left_out: gets how many there are not in the pictures.
    """
    rows = defined(treated.features, KERNEL)
    if not rows.all():
        left_out["some treatments in pictures of treatments"] = (
            f"{int(np.sum(~rows)):,} of {len(rows):,} have a profile that is constant over its features, such as one "
            f"of zeros, which has no {KERNEL.title()} correlation"
        )
    return take(treated, rows)


def nearest_table(found: pl.DataFrame) -> Table:
    """What ``nearest`` found, for the report; a treatment is named once."""
    rows, last = [], None
    for row in found.iter_rows(named=True):
        own = (row["treatment"], row["mechanism"] or "unknown") if row["treatment"] != last else ("", "")
        other = (row["neighbour"], row["similarity"], row["neighbour_mechanism"] or "unknown")
        rows.append((*own, *other, "yes" if row["same"] else "no"))
        last = row["treatment"]
    names = ("treatment", "mechanism", "most alike", "Pearson correlation", "its mechanism", "the same")
    return Table(names, rows, "Treatments and those most like them")


def nearest_galleries(found: pl.DataFrame, images: Mapping[str, np.ndarray]) -> list[Figure]:
    """Cells of treatments, and below them those of the treatments most like them.

    Args:
        found: by ``nearest``.
        images: treatment -> (n, H, W, C) in [0, 1], such as of ``read_strips``; what has none is left out.

    Returns:
        One figure for each treatment that has cells, as has one of its neighbors.
    """
    drawn = []
    for (name,), near in found.group_by("treatment", maintain_order=True):
        near = near.filter(pl.col("neighbour").is_in(list(images)))
        if name not in images or near.is_empty():
            continue
        shown = [name, *near["neighbour"]]
        said = [_short(near["mechanism"][0] or "mechanism unknown")]
        for similarity, mechanism, same in near.select("similarity", "neighbour_mechanism", "same").iter_rows():
            said.append(
                f"{similarity:.2f}  {'the same mechanism' if same else _short(mechanism or 'mechanism unknown')}"
            )
        title = f"Cells of {name} and of the treatments most like it"
        note = "Each row: cells of one treatment, and how its profile correlates with that of the first row."
        figure = style.gallery([images[each] for each in shown], [_short(each) for each in shown], title, note, said)
        drawn.append(Figure(f"nearest_{len(drawn)}", figure, f"{title}: {', '.join(shown[1:])}"))
    return drawn


def cell_files(
    cells: pl.LazyFrame,
    columns: Columns,
    treatments: Sequence[str],
    count: int = 8,
    file: str = "Metadata_File",
    seed: int = 0,
) -> dict[str, list[str]]:
    """Files of some cells of treatments, drawn at random, for ``data.images.strips.read_strips``.

    Args:
        cells: a table of single cells such as ``bin/embed`` writes, see ``reading.scan``.
        columns: of the metadata; those of ``treatment`` are needed.
        treatments: names as ``nearest`` gives them.
        count: cells of each at most.
        file: column of paths. Of a cell with a file for every channel it is the first.
        seed: of the draw.

    Returns:
        Treatment -> paths, for those that have cells.

    Raises:
        ValueError: no such column, or no cell of any of them.
    """
    check_cells(cells, columns, file)
    found = cells.select(_treatment(columns), pl.col(file).cast(pl.String).alias("file"))
    found = found.filter(pl.col(TREATMENT).is_in(list(treatments)) & pl.col("file").is_not_null()).collect()
    if found.is_empty():
        raise UserError(
            f"no cell of these treatments: got {', '.join(map(repr, treatments[:3]))}, expected values of "
            f"{' · '.join(columns.treatment)}; correct the table of cells"
        )
    rng, drawn = np.random.default_rng(seed), {}
    for (name,), rows in found.group_by(TREATMENT, maintain_order=True):
        chosen = rng.choice(len(rows), min(count, len(rows)), replace=False)
        drawn[name] = rows["file"][np.sort(chosen)].to_list()
    return drawn


def check_cells(cells: pl.LazyFrame, columns: Columns, file: str = "Metadata_File") -> None:
    """Looks at the names of columns only, whether ``cell_files`` has what it needs.

    Raises:
        ValueError: no such column.
    """
    known = cells.collect_schema().names()
    for column in (*columns.treatment, file):
        if column not in known:
            raise UserError(
                f"no pictures of cells without their files and treatments: got no column {column!r}; "
                f"{nearest_name(column, known)}; annotate the cells"
            )


def _short(text: str) -> str:
    return textwrap.shorten(text, LETTERS, placeholder=" …")


def _treatment(columns: Columns) -> pl.Expr:
    return pl.concat_str([pl.col(name).cast(pl.String) for name in columns.treatment], separator=" · ").alias(TREATMENT)


def _mechanism(columns: Columns) -> pl.Expr:
    known = pl.lit(None) if columns.mechanism is None else pl.col(columns.mechanism)
    return known.cast(pl.String).alias("mechanism")


def _first_of_mechanisms(metadata: pl.DataFrame) -> list[str]:
    """The first treatment by name of each of the largest mechanisms; the first of all where none is known."""
    rows = metadata.filter(pl.col(TREATMENT).is_not_null())
    if rows["mechanism"].null_count() == len(rows):
        return rows[TREATMENT].unique().sort().to_list()[:NUM_SHOWN]
    sizes = rows.drop_nulls("mechanism").group_by("mechanism").agg(pl.len(), pl.col(TREATMENT).min())
    return sizes.sort("len", "mechanism", descending=[True, False])[TREATMENT].to_list()[:NUM_SHOWN]
