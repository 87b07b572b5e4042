"""What is known of wells from other tables: platemaps, and what the compounds on them are.

No row is dropped and none is made: a row without an annotation keeps missing values and is counted, and annotations
that are there twice are refused.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from cellfx.checks import UserError
from cellfx.profiles.tables.table import METADATA, Profiles
from cellfx.profiles.tables.text_values import as_text


class Annotated(NamedTuple):
    """Profiles with more metadata.

    Attributes:
        profiles: all N rows, in their order.
        num_missing: rows that no annotation has the keys of.
        missing: the different keys of these rows, one row each, in the order of their first rows.
        num_unused: annotations that no row has the keys of.
        unused: their keys, one row each, named as those of ``missing``.
    """

    profiles: Profiles
    num_missing: int
    missing: pl.DataFrame
    num_unused: int
    unused: pl.DataFrame


def annotate(
    profiles: Profiles, annotation: pl.DataFrame, on: Sequence[str] | Mapping[str, str], match_missing: bool = False
) -> Annotated:
    """Adds the columns of a table to the rows that have the same keys.

    Keys are compared as text, so that a plate may be a number in one table and text in the other; 7.0 is 7.

    Args:
        profiles: N rows.
        annotation: one row for each combination of keys. Its columns get the prefix ``Metadata_`` where they lack it.
        on: the keys, columns of both, with or without prefix in the annotation; or {column of the profiles: column of
            the annotation}.
        match_missing: whether missing keys are the same. By default they are like no other. JUMP's tables describe
            wells without a compound by a row without its name.

    Raises:
        ValueError: keys that are in neither, annotations that are there twice, or a column that the profiles have
            already.
    """
    pairs = dict(on) if isinstance(on, Mapping) else {name: name for name in on}
    renamed = {name: name if name.startswith(METADATA) else METADATA + name for name in annotation.columns}
    keys = [_prefixed(key) for key in pairs]
    theirs = [_prefixed(key) for key in pairs.values()]
    _check(profiles, list(renamed.values()), keys, theirs)
    annotation = annotation.rename(renamed)
    # No metadata can have these names.
    places = [f"key{i}" for i in range(len(keys))]
    left = profiles.metadata.select(
        as_text(pl.col(key), profiles.metadata.schema[key]).alias(to) for key, to in zip(keys, places, strict=True)
    )
    right = annotation.select(
        *(as_text(pl.col(key), annotation.schema[key]).alias(to) for key, to in zip(theirs, places, strict=True)),
        *(pl.col(name) for name in annotation.columns if name not in theirs),
        pl.lit(True).alias("found"),
    )
    if not match_missing:
        right = right.drop_nulls(places)
    _check_unique(right, places, theirs)
    joined = left.join(right, on=places, how="left", maintain_order="left", nulls_equal=match_missing)
    found = joined["found"].fill_null(False)
    metadata = profiles.metadata.hstack(joined.drop(*places, "found"))
    used = right.select(places).join(left, on=places, how="semi", nulls_equal=match_missing)
    missing = profiles.metadata.select(keys).filter(~found).unique(maintain_order=True)
    unused = right.select(places).join(left, on=places, how="anti", nulls_equal=match_missing)
    unused = unused.rename(dict(zip(places, keys, strict=True)))
    num_missing, num_unused = int((~found).sum()), len(annotation) - len(used)
    return Annotated(profiles._replace(metadata=metadata), num_missing, missing, num_unused, unused)


def explained(found: Annotated) -> str:
    """In words, which rows have no annotation and whether another way of writing their keys would find one."""
    text = f"{found.num_missing:,} of {len(found.profiles.metadata):,} wells"
    ours, theirs = found.missing.drop_nulls(), found.unused
    if not len(ours):
        return f"{text}, which have no key"
    alike = _plainly(ours, "ours").join(_plainly(theirs, "theirs"), on=ours.columns, maintain_order="left")
    if len(alike):
        ours, theirs = ours[alike["ours"].to_list()], theirs[alike["theirs"].to_list()]
    text += f", such as {_examples(ours)}"
    if len(theirs):
        text += f", where it has {_examples(theirs)}"
    if not len(alike):
        return text
    count = alike["ours"].n_unique()
    return f"{text}; {count:,} of these keys differ only in capitals, spaces or padding with zeros: write them alike"


def _examples(keys: pl.DataFrame) -> str:
    return " and ".join(" ".join(f"{name} {value!r}" for name, value in row.items()) for row in keys[:2].to_dicts())


def _plainly(keys: pl.DataFrame, place: str) -> pl.DataFrame:
    """Keys as text without what people write differently, A01 is a1, 007 is 7, 7.0 is 7; and a column of places."""
    text = pl.all().cast(pl.String).str.strip_chars().str.to_lowercase()
    plain = text.str.replace_all(r"(^|[^0-9.])0+([0-9])", "${1}${2}").str.replace(r"\.0+$", "")
    return keys.select(plain).with_row_index(place)


def _prefixed(name: str) -> str:
    return name if name.startswith(METADATA) else METADATA + name


def _check(profiles: Profiles, columns: Sequence[str], keys: Sequence[str], theirs: Sequence[str]) -> None:
    known = profiles.metadata.columns
    for name, where, there in (
        *((key, "profiles", known) for key in keys),
        *((k, "annotation", columns) for k in theirs),
    ):
        if name not in there:
            raise UserError(
                f"no key to join by: got {name!r}, expected one of {', '.join(there)} of the {where}; correct on"
            )
    if not keys:
        raise UserError("no key to join by: got none, expected one or more; name them with on")
    twice = [name for name in columns if columns.count(name) > 1 or (name in known and name not in theirs)]
    if twice:
        raise UserError(
            f"metadata that would be there twice: got {', '.join(sorted(set(twice)))} in the annotation, expected only "
            "new columns besides the keys; drop or rename them"
        )


def _check_unique(annotation: pl.DataFrame, places: Sequence[str], names: Sequence[str]) -> None:
    doubled = annotation.group_by(places, maintain_order=True).len().filter(pl.col("len") > 1)
    if len(doubled):
        first = ", ".join(f"{name} {value!r}" for name, value in zip(names, doubled.row(0)[:-1], strict=True))
        raise UserError(
            f"annotations that are there more than once: got {len(doubled)} keys with several rows, the first {first} "
            f"with {doubled['len'][0]}, expected one row for each; make them unique, or join by more columns"
        )
