"""What is asked of a finished run: its scores again, its latents as a table, pictures of what each latent does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellfx.analysis.latents import encoding
from cellfx.files.workdir import notice, say
from cellfx.findings import measure as findings
from cellfx.findings import page, table
from cellfx.findings.subject import batches, judged_split
from cellfx.runs import other_images, verdicts
from cellfx.runs.experiment import coder, measure, report, restore

TRAVERSED_IMAGES = 2_000


def evaluate(
    workdir: Path,
    folder: Path | None = None,
    described: Mapping[str, Any] | None = None,
    probe: Mapping[str, Any] | None = None,
    output: Path | None = None,
    place: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures a finished run again from its newest good checkpoint, prints the scores and writes one row an image.

    Args:
        workdir: of the run; its report and scores.json are written anew where ``folder`` is None.
        folder: of other images, judged instead of the test split: see ``other_images``.
        described: fields of the section ``data`` that describe the other images.
        probe: fields of the section ``probe`` in place of the run's own.
        output: folder for ``runs.verdicts.write``; None for ``evaluated/<name of the folder, or of the split>`` in the
            workdir.
        place: where the run's own data is now, if it was moved, as for ``restore``.

    Returns:
        The scores.
    """
    workdir = Path(workdir)
    trained = restore(workdir, place)
    trained.settings["probe"] = {**trained.settings.get("probe", {}), **(probe or {})}
    if folder is None:
        found = report(trained, workdir)
        output, scores = output or workdir / "evaluated" / found.scores["judged_on"], None
    else:
        other = other_images.beside(trained, folder, workdir, described)
        trained.settings["probe"]["split"] = "test"
        found = measure(trained._replace(source=other.source), other.source.splits["test"].num_examples)
        scores = {"folder": str(folder), "same_pixels": other.seen, "unknown_classes": other.unknown, **found.scores}
        notice(other_images.describe(other))
        say(findings.summary(scores))
        output = output or workdir / "evaluated" / folder.absolute().name
    for path in verdicts.write(found, output, scores):
        say(f"{path.stem}: {path}")
    return found.scores if scores is None else scores


def traverse(workdir: Path, place: Mapping[str, Any] | None = None) -> list[Path]:
    """Draws what each latent of a finished run does, into its figures/; returns the paths.

    Args:
        workdir: of the run.
        place: where its data is now, if it was moved, as for ``restore``.
    """
    workdir = Path(workdir)
    trained = restore(workdir, place)
    encode, decode = coder(trained)
    codes = encoding.encode_batches(encode, list(batches(judged_split(trained.source), TRAVERSED_IMAGES)))
    drawn = page.traversal_figures(decode, codes)
    page.save(drawn, workdir)
    paths = [workdir / "figures" / f"{figure.name}.png" for figure in drawn]
    say("\n".join(map(str, paths)))
    return paths


def embed(workdir: Path, output: Path, split: str | None = None, place: Mapping[str, Any] | None = None) -> Path:
    """Writes the latents of every image of a finished run's data as a table; see ``embedding`` for its columns.

    Args:
        workdir: of the run.
        output: the table, ``.parquet`` or ``.h5ad``, in a folder that is there.
        split: the only one to write; None writes all.
        place: where the run's data is now, if it was moved, as for ``restore``.

    Returns:
        The path of the table.

    Raises:
        ValueError, OSError: see ``restore``, ``findings.table.check`` and ``findings.table.chosen``.
    """
    output = Path(output)
    table.check(output)
    trained = restore(workdir, place)
    encode, _ = coder(trained)
    splits = table.chosen(trained.source, split)
    count = table.write(output, table.table(trained.source, encode, splits))
    say(f"{output}: {count:,} images of {', '.join(splits)}")
    return output
