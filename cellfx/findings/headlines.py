"""The key numbers at the top of a run's report and the tables at its end, from its scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.findings.channels import show_share
from cellfx.report.page import Card, Section, Table


def key_numbers(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Card]:
    """What to read first.

    Args:
        scores: of ``findings.measure.measure``.
        rows: of metrics.jsonl.
    """
    cards = []
    for name in ("classifier", "probe"):
        if name in scores:
            part = scores[name]
            by = f"{part['head']} on latents" if name == "probe" else "the model itself"
            note = f"balanced, {by}, {part['test_images']:,} {part['judged_on']} images"
            cards.append(Card("Class accuracy", f"{part['balanced_accuracy']:.1%}", note))
    if "translation" in scores:
        part = scores["translation"]
        note = f"of the variance about the mean image, from {', '.join(part['inputs'])}, {part['judged_on']} split"
        cards += [
            Card(f"{name}, explained", show_share(found["explained"]), note) for name, found in part["channels"].items()
        ]
    if "kl_per_latent" in scores:
        note = f"mean squared, per pixel, {scores['judged_on']} split"
        active = f"{scores['active_latents']} of {len(scores['kl_per_latent'])}"
        cards.append(Card("Reconstruction error", f"{scores['reconstruction_mse']:.5f}", note))
        cards.append(Card("Active latents", active, "KL above .01 nats"))
    if "disentanglement" in scores:
        cards.append(Card("MIG", f"{scores['disentanglement']['MIG']['score']:.3f}", "mutual information gap"))
    rates = [row["images_per_second"] for row in rows if "images_per_second" in row]
    if rates:
        cards.append(Card("Throughput", f"{np.median(rates):,.0f} images/s", "training, median"))
    return cards


def score_tables(scores: Mapping[str, Any]) -> list[Section]:
    """What to compare with other models, each table in a section of its own."""
    sections = []
    if "translation" in scores:
        sections.append(_of_translation(scores["translation"]))
    if "disentanglement" in scores:
        sections.append(_of_disentanglement(scores["disentanglement"]))
    return sections


def _of_translation(scores: Mapping[str, Any]) -> Section:
    channels = scores["channels"]
    kinds = {
        "explained": "pixels, explained",
        "total_explained": "total intensity, explained",
        "total_rank_correlation": "total intensity, rank correlation",
    }
    values = [(text, *(part[kind] for part in channels.values())) for kind, text in kinds.items()]
    for name in next(iter(channels.values()))["total_correlation_by_class"]:
        found = (part["total_correlation_by_class"][name] for part in channels.values())
        values.append((f"total intensity among {name}, correlation", *found))
    shown = [(name, *("undefined" if value is None else value for value in row)) for name, *row in values]
    text = (
        f"What {', '.join(scores['inputs'])} tells of the other channels, on {scores['test_images']:,} "
        f"{scores['judged_on']} images. Explained: 1 is an exact prediction, 0 the mean image or mean total intensity. "
        f"Among the cells of a class a correlation shows what is known beyond the class."
    )
    return Section("Explained channels", text, [Table(("score", *channels), shown)])


def _of_disentanglement(parts: Mapping[str, Mapping[str, Any]]) -> Section:
    values = [(name, part["score"]) for name, part in parts.items()]
    values += [(f"DCI {name}", parts["DCI"][name]) for name in ("completeness", "informativeness")]
    protocols = [(name, key, str(value)) for name, part in parts.items() for key, value in part["protocol"].items()]
    text = "How far every factor has one latent of its own. Scores compare only under the same protocol."
    tables = [Table(("score", "value"), values), Table(("score", "protocol", "setting"), protocols)]
    return Section("Disentanglement", text, tables)
