"""What is asked of a finished run: its scores again, its latents as a table, pictures of what each latent does."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np

from cellfx import embedding, findings, presentation
from cellfx.analysis import latents
from cellfx.data import nuclei
from cellfx.data.source import Source, Split
from cellfx.experiment import Trained, coder, measure, report, restore, say
from cellfx.subject import batches, judged_split, read_preprocessing

TRAVERSED_IMAGES = 2_000


def evaluate(workdir: Path, folder: Path | None = None) -> dict[str, Any]:
    """Measures a finished run again from its newest good checkpoint and prints the scores.

    Args:
        workdir: of the run; its report and scores.json are written anew.
        folder: class-named folders of other images, judged instead of the test split; then nothing is written.

    Returns:
        The scores.
    """
    workdir = Path(workdir)
    trained = restore(workdir)
    if folder is None:
        return report(trained, workdir)
    found = measure(trained._replace(source=_with_other_images(trained, folder, workdir)))
    say(findings.summary(found.scores))
    return found.scores


def traverse(workdir: Path) -> list[Path]:
    """Draws what each latent of a finished run does, into its figures/; returns the paths."""
    workdir = Path(workdir)
    trained = restore(workdir)
    encode, decode = coder(trained)
    codes = latents.encode_batches(encode, list(batches(judged_split(trained.source), TRAVERSED_IMAGES)))
    drawn = presentation.traversal_figures(decode, codes)
    presentation.save(drawn, workdir)
    paths = [workdir / "figures" / f"{figure.name}.png" for figure in drawn]
    say("\n".join(map(str, paths)))
    return paths


def embed(workdir: Path, output: Path, split: str | None = None) -> Path:
    """Writes the latents of every image of a finished run's data as a table; see ``embedding`` for its columns.

    Args:
        workdir: of the run.
        output: the table, ``.parquet`` or ``.h5ad``, in a folder that is there.
        split: the only one to write; None writes all.

    Returns:
        The path of the table.

    Raises:
        ValueError, OSError: see ``restore``, ``embedding.check`` and ``embedding.chosen``.
    """
    output = Path(output)
    embedding.check(output)
    trained = restore(workdir)
    encode, _ = coder(trained)
    splits = embedding.chosen(trained.source, split)
    count = embedding.write(output, embedding.table(trained.source, encode, splits))
    say(f"{output}: {count:,} images of {', '.join(splits)}")
    return output


def read_folder(trained: Trained, folder: Path, workdir: Path) -> Source:
    """The images of a folder, all of them as one test split, read as those of a run were.

    They are normalised by what the run kept, and read as nuclei where it was trained on data that no folder holds.

    Raises:
        ValueError, OSError: the images cannot be read so.
    """
    data, expected = trained.settings["data"], trained.source.image_shape
    if data.get("intensity") == "range":
        raise ValueError(
            "other images cannot be judged by a run with data.intensity=range: got limits that were taken from its own "
            "images, expected intensities that mean the same in every folder; train with raw, sqrt or percentile"
        )
    unsplit = getattr(importlib.import_module(f"cellfx.data.{data['name']}"), "unsplit", nuclei.unsplit)
    options = {**data, "folder": folder, "image_size": expected[0]}
    if trained.source.channel_names:
        options["channels"] = trained.source.channel_names
    if trained.source.preprocessing is not None:
        options["preprocessing"] = read_preprocessing(workdir)
    return unsplit(**{key: options[key] for key in inspect.signature(unsplit).parameters if key in options})


def _with_other_images(trained: Trained, folder: Path, workdir: Path) -> Source:
    """The source with the images of a folder, all of them, as its test split; labels by the names of its classes."""
    data, expected = trained.settings["data"], trained.source.image_shape
    other = read_folder(trained, folder, workdir)
    known = list(trained.source.class_names)
    label_of = {name: label for label, name in enumerate(known)}
    for label, members in enumerate((data.get("grouped") or {}).values()):
        label_of |= dict.fromkeys(members, label)
    unknown = [name for name in other.class_names if name not in label_of]
    left_out = bool(data.get("classes")) and len(unknown) < len(other.class_names)  # as they were in training
    if other.image_shape != expected or (unknown and not left_out):
        raise ValueError(
            f"the images of {folder} do not fit the run: got images {other.image_shape} of the classes "
            f"{', '.join(other.class_names)}, expected {expected} and classes among {', '.join(label_of)}; name the "
            f"folders like the classes the model was trained on"
        )
    labels = np.array([label_of.get(name, -1) for name in other.class_names], np.int32)
    split = other.splits["test"]
    split = split._replace(arrays={**split.arrays, "label": labels[split.arrays["label"]]})
    if unknown:
        known_rows = split.arrays["label"] >= 0
        say(
            f"{np.sum(~known_rows):,} of {len(known_rows):,} images of {folder} are left out, of the classes "
            f"{', '.join(unknown)}, which the run was not trained on"
        )
        split = _rows(split, known_rows)
    return trained.source._replace(name=str(folder), splits={**trained.source.splits, "test": split})


def _rows(split: Split, rows: np.ndarray) -> Split:
    """Some examples of a split in memory; rows (N,) bool."""
    arrays = {key: array[rows] for key, array in split.arrays.items()}
    metadata = {column: values[rows] for column, values in split.metadata.items()}
    return Split(int(rows.sum()), arrays, metadata=metadata)
