"""What is asked of a finished run: its scores again, its latents as a table, pictures of what each latent does."""

from pathlib import Path
from typing import Any

import numpy as np

from cellfx import embedding, findings, presentation
from cellfx.analysis import latents
from cellfx.data.source import SPLITS, Source, Split
from cellfx.experiment import Experiment, coder, load_source, report, restore, say
from cellfx.settings import Config

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
    settings, experiment, state = restore(workdir)
    if folder is None:
        return report(settings, experiment, state, workdir)
    source = _other_images(experiment, settings, folder)
    trained = findings.Trained(source, *coder(experiment.model, state.params, state.extra))
    found = findings.measure(trained, seed=experiment.training.seed, **settings.get("probe", {}))
    say(findings.summary(found.scores))
    return found.scores


def traverse(workdir: Path) -> list[Path]:
    """Draws what each latent of a finished run does, into its figures/; returns the paths."""
    workdir = Path(workdir)
    _, experiment, state = restore(workdir)
    encode, decode = coder(experiment.model, state.params, state.extra)
    codes = latents.encode_batches(encode, findings.judged_batches(experiment.source, TRAVERSED_IMAGES))
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
    _, experiment, state = restore(workdir)
    encode, _ = coder(experiment.model, state.params, state.extra)
    splits = embedding.chosen(experiment.source, split)
    count = embedding.write(output, embedding.table(experiment.source, encode, splits))
    say(f"{output}: {count:,} images of {', '.join(splits)}")
    return output


def _other_images(experiment: Experiment, settings: Config, folder: Path) -> Source:
    """The source with the images of a folder, all of them, as its test split; labels by the names of its classes."""
    nuclei = {"name": "nuclei", "image_size": experiment.source.image_shape[0], "metadata_regex": None}
    options = {k: v for k, v in settings["data"].items() if k in ("intensity", "on_error", "data_dir")}
    other = load_source({**nuclei, **options, "folder": str(folder), "group": None, "num_folds": 2})
    known = list(experiment.source.class_names)
    unknown = [name for name in other.class_names if name not in known]
    if other.image_shape != experiment.source.image_shape or unknown:
        raise ValueError(
            f"the images of {folder} do not fit the run: got images {other.image_shape} of the classes "
            f"{', '.join(other.class_names)}, expected {experiment.source.image_shape} and classes among "
            f"{', '.join(known)}; name the folders like the classes the model was trained on"
        )
    label_of = np.array([known.index(name) for name in other.class_names], np.int32)
    parts = [other.splits[name].arrays for name in SPLITS]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in ("image", "label")}
    arrays["label"] = label_of[arrays["label"]]
    test = Split(len(arrays["label"]), arrays)
    return experiment.source._replace(name=str(folder), splits={**experiment.source.splits, "test": test})
