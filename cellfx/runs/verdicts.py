"""What a model says of every image that judges it: one row an image, the counts of a confusion, and the scores."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.files.whole import write_whole
from cellfx.findings.classes import Probed
from cellfx.findings.measure import Found
from cellfx.findings.subject import judged_split


def columns(found: Found) -> dict[str, np.ndarray]:
    """Column -> (N,) for all images of the split that is judged, in its order.

    ``Metadata_*`` as in the data; ``label``, the true class, empty where that is unknown or not told apart;
    ``predicted`` and ``probability_<class>`` (``score_<class>`` of a support vector machine) by the model itself, or
    else by the classifier on its latents; ``reconstruction_mse`` per pixel.
    """
    subject, told = found.subject, _told(found)
    table = dict(judged_split(subject.source, subject.max_images).metadata)
    if told is not None:
        names = np.array(told.names)
        kind = "score" if told.scores.get("head") == "svm" else "probability"
        table["label"] = np.where(told.label >= 0, names[told.label], "")
        table["predicted"] = names[told.told.argmax(axis=1)]
        table |= {f"{kind}_{name}": told.told[:, column] for column, name in enumerate(told.names)}
    if found.errors is not None:
        table["reconstruction_mse"] = found.errors
    return table


def write(found: Found, folder: Path, scores: dict[str, Any] | None = None) -> list[Path]:
    """Writes ``cells.csv`` and ``cells.parquet``, ``confusion.csv`` (true class by row) and ``scores.json``.

    Args:
        found: what was measured.
        folder: to write to.
        scores: of ``scores.json``, which is not written where they are None.

    Returns:
        The paths.
    """
    import polars

    files = {}
    if table := columns(found):
        cells = polars.DataFrame(table)
        files = {"cells.csv": _written(cells.write_csv), "cells.parquet": _written(cells.write_parquet)}
    told = _told(found)
    if told is not None and told.confusion.any():
        counts = {name: told.confusion[:, column] for column, name in enumerate(told.names)}
        files["confusion.csv"] = _written(polars.DataFrame({"true_class": told.names, **counts}).write_csv)
    if scores is not None:
        files["scores.json"] = json.dumps(scores, indent=2, default=float).encode()
    for name, content in files.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def _told(found: Found) -> Probed | None:
    return found.probed if found.judged is None else found.judged


def _written(write: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()
