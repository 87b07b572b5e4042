"""How good the images of generative models are, in the features of a classifier of the same cells."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellfx.analysis.images.image_quality import kernel_distance, leakage
from cellfx.checks import Count
from cellfx.data.source import Split
from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.generated import draw
from cellfx.findings.subject import over
from cellfx.runs import experiment
from cellfx.runs.experiment import bound, sampler
from cellfx.studies.stages import InputStage
from cellfx.studies.stages.train import first_run

SUBSETS = 100
MAX_SUBSET = 1_000


def quality(
    folder: Path, inputs: Mapping[str, Path], judges: Mapping[InputStage, InputStage], num_generated: Count = 2_000
) -> None:
    """Writes ``<stage>.json`` for every generator: kernel distance and nearest neighbors of its images.

    Args:
        folder: of the stage.
        inputs: the stages that ``judges`` names.
        judges: ``train`` stage of a generator -> ``train`` stage of the classifier in whose features its images are
            judged; the first run of each, which have the same data and fold.
        num_generated: images that are drawn.
    """
    for generator, judge in judges.items():
        trained, classifier = (experiment.restore(first_run(inputs[name])) for name in (generator, judge))
        features = bound(classifier, classifier.model.features)
        real = {part: over(features, trained.source.splits[part]) for part in ("train", "test")}
        drawn = draw(sampler(trained), num_generated, int(trained.settings["train"].get("seed", 0)))
        fake = over(features, Split(len(drawn), {"x": drawn}))
        size = min(MAX_SUBSET, *(len(part) // 2 for part in (real["train"], real["test"], fake)))
        distances = {
            name: kernel_distance(real["train"], other, SUBSETS, size)._asdict()
            for name, other in (("generated", fake), ("held_out", real["test"]))
        }
        near = leakage(real["train"], fake, real["test"])
        scores = {
            "kernel_distance": distances,
            "nearest": {"ratio": near.ratio, "too_near_rate": near.too_near_rate},
            "features": f"{fake.shape[1]} of the last hidden layer of {judge}",
            "images": {"generated": len(fake), **{part: len(values) for part, values in real.items()}},
            "subsets": {"count": SUBSETS, "size": size},
        }
        write_whole(folder / f"{generator}.json", json.dumps(scores, indent=1).encode())
        found = {name: each["mean"] for name, each in distances.items()}
        say(f"{generator}: kernel distance {found['generated']:.4f}, of real images {found['held_out']:.4f}")


def check(inputs: Mapping[str, Any], judges: Mapping[str, str], **others: Any) -> None:
    """Raises a ValueError for a generator that draws nothing, or a judge without features."""
    del others
    for pair in judges.items():
        for stage, ability in zip(pair, ("sample", "features"), strict=True):
            rehearsed = inputs[stage]
            if rehearsed is not None and getattr(rehearsed.model, ability) is None:
                raise ValueError(
                    f"quality.judges names a model that cannot do this: got stage {stage!r}, whose model has no "
                    f"{ability}, expected a generative model and a classifier with features; correct it"
                )
