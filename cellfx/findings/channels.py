"""How much a model that predicts channels from others explains of them on the split that is judged."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cellfx.analysis.images.translation import Comparison, Explained
from cellfx.findings.subject import Subject, batches, judged_name, judged_split


class Translated(NamedTuple):
    """What the model made of the channels that it predicts.

    Attributes:
        names: (C,) of all channels; the last C' are predicted from those before.
        predicted: (n, H, W, C') of the images that are looked at.
        explained: of all images of the split.
        label: (N,) int of these images; None where the data has no classes.
        scores: for scores.json.
    """

    names: tuple[str, ...]
    predicted: np.ndarray
    explained: Explained
    label: np.ndarray | None
    scores: dict[str, Any]


def judge_translation(subject: Subject, images: np.ndarray) -> Translated:
    """Judges a model with ``translate`` on all images of the split that is judged.

    Args:
        subject: the model and its data.
        images: (n, H, W, C) in [0, 1], those that are looked at.
    """
    source = subject.source
    comparison, labels = Comparison(), []
    for batch in batches(judged_split(source, subject.max_images)):
        real = batch["mask"] > 0
        predicted = np.asarray(subject.translate(batch["x"]))[real]
        comparison.add(batch["x"][real][..., -predicted.shape[-1] :], predicted)
        labels.append(batch["label"][real] if "label" in batch and source.class_names else np.zeros(0, np.int32))
    label = np.concatenate(labels) if len(labels[0]) else None
    shown = np.asarray(subject.translate(images))
    found = comparison.result(label, len(source.class_names) if label is not None else 0)
    names = source.channel_names or tuple(f"channel {number + 1}" for number in range(source.shape[2]))
    inputs = len(names) - shown.shape[-1]
    scores = {
        "judged_on": judged_name(source),
        "test_images": len(found.target_totals),
        "inputs": list(names[:inputs]),
        "explained": _mean(found.pixels),
        "total_explained": _mean(found.totals),
        "channels": {name: _scores(found, index, source.class_names) for index, name in enumerate(names[inputs:])},
    }
    return Translated(names, shown, found, label, scores)


def describe(scores: Mapping[str, Any]) -> list[str]:
    """The scores of a ``Translated``, one line of text for each predicted channel."""
    lines = []
    for name, part in scores["channels"].items():
        pixels, totals = (show_share(part[key]) for key in ("explained", "total_explained"))
        lines.append(f"{name} from {', '.join(scores['inputs'])}: {pixels} explained; of its total intensity {totals}")
    return lines


def show_share(value: float | None) -> str:
    """A share as a percentage; below 0 where the mean is the better prediction, None where nothing varies."""
    return "undefined" if value is None else f"{value:.1%}"


def _scores(found: Explained, channel: int, class_names: tuple[str, ...]) -> dict[str, Any]:
    by_class = dict(zip(class_names, found.class_correlation[:, channel], strict=False))
    return {
        "explained": _number(found.pixels[channel]),
        "total_explained": _number(found.totals[channel]),
        "total_rank_correlation": _number(found.total_rank[channel]),
        "total_correlation_by_class": {name: _number(value) for name, value in by_class.items()},
    }


def _number(value: float) -> float | None:
    """None, as JSON knows it, where there was nothing to explain."""
    return None if np.isnan(value) else float(value)


def _mean(shares: np.ndarray) -> float | None:
    """Of the channels that vary."""
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if len(known) else None
