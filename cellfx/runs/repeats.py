"""Several runs of one config, by seed or by fold of the data, and what they say together.

The config section ``repeats`` names what varies. Run k lies in ``<workdir>/run<k>``, a workdir like any other; with one
run there is no such folder and the workdir is the run's own.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cellfx.analysis.disentanglement import ranking
from cellfx.analysis.latents import encoding
from cellfx.checks import Seed, check_value
from cellfx.files.whole import write_whole
from cellfx.files.workdir import check_owner, claim, read_config, say
from cellfx.findings import page as presentation
from cellfx.findings.subject import batches, judged_split
from cellfx.report.charts import latents
from cellfx.report.page import Card, Picture, Section, Table, report
from cellfx.runs import experiment, results
from cellfx.runs.parts import paths_of
from cellfx.runs.rehearsal import Rehearsed, rehearse
from cellfx.settings import Config, call, check_sections, to_dict
from cellfx.training import parallel

KINDS = ("seed", "fold")
SPREADS = {
    "reconstruction_mse": "reconstruction error per pixel",
    "kl": "KL, nats",
    "active_latents": "active latents",
    "probe/balanced_accuracy": "balanced accuracy",
    "classifier/accuracy": "accuracy of the model itself",
    "classifier/balanced_accuracy": "balanced accuracy of the model itself",
    "captured/area_px/rank_correlation": "area, rank correlation of the best latent",
    "captured/brightness/rank_correlation": "brightness, likewise",
    "captured/eccentricity/rank_correlation": "eccentricity, likewise",
    "generated/real_or_fake/accuracy": "accuracy of telling real from generated images",
    "generated/spread/area_px": "spread of area, generated against real",
    "generated/spread/brightness": "spread of brightness, likewise",
    "generated/spread/eccentricity": "spread of eccentricity, likewise",
    "translation/explained": "predicted channels, explained",
    "translation/total_explained": "their total intensities, explained",
    "disentanglement/MIG/score": "MIG",
    "disentanglement/DCI/score": "DCI disentanglement",
    "disentanglement/SAP/score": "SAP",
    "disentanglement/FactorVAE/score": "FactorVAE",
}


class Repeats(NamedTuple):
    """The config section ``repeats``.

    Attributes:
        over: ``seed`` trains with train.seed, train.seed + 1, ...; ``fold`` also tests on another fold each time.
        num_runs: how many runs; folds must be as many as data.num_folds to cover the data.
    """

    over: str = "seed"
    num_runs: int = 1


RUNS_TEXT = "One model for each {}; each has a report of its own, run0/report.html and so on."
UDR_TEXT = (
    "Real cells have no known factors, so models are ranked without labels: a model whose informative latents are "
    "found again in the other runs' models is likelier to be disentangled (unsupervised disentanglement ranking). Runs "
    "over seeds differ in their random start; runs over folds also in their training images, and have all but run0 "
    "trained on the images compared here. 1 is perfect agreement under Spearman's correlation, .9 under the Lasso of "
    "penalty .1."
)
UDR_IMAGES = 2_000


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains, measures and reports all runs of a config; those that are finished are not trained again.

    Returns:
        The scores of the one run, or the means and spreads of several.

    Raises:
        ValueError: see ``runs.experiment.build``, or the section is wrong.
    """
    parallel.initialize_hosts()
    workdir, settings = Path(workdir), to_dict(config)
    repeats = _checked(settings)
    settings["data"] |= {name: str(path) for name, path in paths_of(settings["data"]).items()}
    if repeats.num_runs == 1:
        return experiment.run(settings, workdir)
    check_owner(workdir, settings)
    for k, single in enumerate(_singles(settings, repeats)):
        say(f"run {k + 1} of {repeats.num_runs}: {workdir / f'run{k}'}")
        experiment.run(single, workdir / f"run{k}")
        claim(workdir, settings)
    return {} if jax.process_index() else _report(settings, repeats, workdir)


def check(config: Config) -> Rehearsed:
    """Checks all of a config that can be checked without reading its data.

    Raises:
        ValueError: see ``runs.rehearsal.rehearse``, or the section ``repeats`` is wrong.
    """
    settings = to_dict(config)
    _checked(settings)
    return rehearse(settings)


def evaluate(
    workdir: Path, folder: Path | None = None, output: Path | None = None, **fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Measures a finished workdir again from its checkpoints, on its own test data or on another folder of images.

    Args:
        workdir: of one run or of several.
        folder: of images to judge instead of the test split.
        output: see ``runs.results.evaluate``; of several runs, each writes to its folder ``run<k>`` in it.
        **fields: ``described``, ``probe`` and ``place`` for ``runs.results.evaluate``.

    Raises:
        FileNotFoundError: no workdir, or nothing trained in it.
    """
    settings = read_config(workdir)
    check_sections(settings)
    repeats = _read(settings)
    if repeats.num_runs == 1:
        return results.evaluate(workdir, folder, output=output, **fields)
    for k in range(repeats.num_runs):
        own = None if output is None else output / f"run{k}"
        results.evaluate(Path(workdir) / f"run{k}", folder, output=own, **fields)
    return {} if folder else _report(settings, repeats, Path(workdir), fields.get("place"))


def _checked(settings: Config) -> Repeats:
    """The section ``repeats``, checked together with the folds and seeds that it counts with."""
    check_sections(settings)
    check_value("train.seed", settings["train"].get("seed", 0), Seed)
    repeats = _read(settings)
    _check_fold(settings, repeats)
    return repeats


def _read(settings: Config) -> Repeats:
    repeats = call(Repeats, "repeats", settings.get("repeats", {}))
    if repeats.over not in KINDS:
        raise ValueError(f"unknown repeats.over: got {repeats.over!r}, expected one of {KINDS}; correct it")
    if repeats.num_runs < 1:
        raise ValueError(f"repeats.num_runs is too small: got {repeats.num_runs}, expected 1 or more; raise it")
    folds = settings["data"].get("num_folds")
    check_value("data.num_folds", folds, int | None)
    if repeats.over == "fold" and repeats.num_runs > 1 and folds is not None and repeats.num_runs > folds:
        raise ValueError(
            f"more runs than folds: got repeats.num_runs={repeats.num_runs}, expected at most data.num_folds={folds}; "
            f"change one of them"
        )
    return repeats


def _check_fold(settings: Config, repeats: Repeats) -> None:
    """Raises a ValueError for a fold that nothing would test on."""
    fold = settings["data"].get("fold", 0)
    if repeats.over == "fold" and repeats.num_runs > 1 and fold != 0:
        raise ValueError(
            f"config key data.fold cannot be set: got {fold}, expected 0 or no such key, because repeats.over='fold' "
            f"tests on fold 0 to {repeats.num_runs - 1} in turn; leave it out"
        )


def _singles(settings: Config, repeats: Repeats) -> Iterator[dict[str, Any]]:
    for k in range(repeats.num_runs):
        single = copy.deepcopy(dict(settings))
        single["repeats"] = {"over": repeats.over, "num_runs": 1}
        single["train"]["seed"] = settings["train"].get("seed", 0) + k
        if repeats.over == "fold":
            single["data"]["fold"] = k
        yield single


def _report(
    settings: Config, repeats: Repeats, workdir: Path, place: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Means and spreads of the runs' scores, UDR over their models; scores.json and report.html of the whole."""
    runs = [json.loads((workdir / f"run{k}" / "scores.json").read_text()) for k in range(repeats.num_runs)]
    spreads = dict(_spreads(runs))
    ranked = _ranked(repeats, workdir, place)
    scores = {"runs": repeats.num_runs, "over": repeats.over, "spread": spreads}
    shown = [Section("Runs", RUNS_TEXT.format(repeats.over), _tables_of(runs, spreads) + _confusion(runs, workdir))]
    if ranked is not None:
        scores["udr"] = ranked
        shown.append(Section("Agreement between the models", UDR_TEXT, [_udr_table(ranked)]))
    page = report(
        f"{settings['model']['name']} on {settings['data']['name']}, {repeats.num_runs} runs",
        shown,
        [_card(name, part) for name, part in spreads.items()],
        config=settings,
        versions=presentation.versions(),
    )
    write_whole(workdir / "scores.json", json.dumps(scores, indent=2).encode())
    write_whole(workdir / "report.html", page.encode())
    for name, part in spreads.items():
        values = " ".join(f"{value:.4f}" for value in part["values"])
        say(f"{name}: {part['mean']:.4f} +- {part['sd']:.4f} (mean and standard deviation of {values})")
    say(f"report: {workdir / 'report.html'}")
    return scores


def _spreads(runs: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, mean, standard deviation (n - 1) and values) of every score that all runs have."""
    for path, name in SPREADS.items():
        values = [_at(scores, path) for scores in runs]
        if None not in values:
            yield name, {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "values": values}


def _at(scores: Mapping[str, Any], path: str) -> float | None:
    value: Any = scores
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _ranked(repeats: Repeats, workdir: Path, place: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """UDR of the runs' models over the test images of run 0, the same for every model; None where they encode none."""
    codes, kls, images = [], [], None
    for k in range(repeats.num_runs):
        trained = experiment.restore(workdir / f"run{k}", place)
        if trained.model.encode is None:
            return None
        images = list(batches(judged_split(trained.source), UDR_IMAGES)) if images is None else images
        encode, _ = experiment.coder(trained)
        encoded = encoding.encode_batches(encode, images)
        codes.append(encoded.mean)
        kls.append(encoding.kl_per_latent(encoded.mean, encoded.logvar))
    found = {variant: ranking.udr(codes, kls, variant) for variant in ranking.VARIANTS}
    return {
        "scores": {variant: [float(score) for score in udr.scores] for variant, udr in found.items()},
        "num_informative": [int(count) for count in found["spearman"].num_informative],
        "images": len(codes[0]),
        "protocol": {variant: udr.protocol for variant, udr in found.items()},
    }


def _udr_table(ranked: Mapping[str, Any]) -> Table:
    scores = ranked["scores"]
    rows = zip(scores["spearman"], scores["lasso"], ranked["num_informative"], strict=True)
    return Table(
        ("run", "UDR, Spearman", "UDR, Lasso", "informative latents"),
        [(f"run{k}", *row) for k, row in enumerate(rows)],
        f"Over {ranked['images']:,} images.",
    )


def _tables_of(runs: list[dict[str, Any]], spreads: Mapping[str, dict[str, Any]]) -> list[Picture | Table]:
    names = [f"run{k}" for k in range(len(runs))]
    rows = [(name, *part["values"], part["mean"], part["sd"]) for name, part in spreads.items()]
    return [Table(("score", *names, "mean", "standard deviation"), rows)]


def _confusion(runs: list[dict[str, Any]], workdir: Path) -> list[Picture | Table]:
    drawn = []
    for kind, name, of in (("probe", "confusion", "on latents"), ("classifier", "classifier_confusion", "of images")):
        if all(kind in scores for scores in runs):
            counts = np.sum([scores[kind]["confusion"] for scores in runs], axis=0)
            chart = latents.confusion(counts, list(runs[0][kind]["classes"]), "Predicted against true class, all runs")
            alt = f"Confusion matrix of the classifiers {of}, summed over runs"
            drawn.append(presentation.Figure(name, chart, alt))
    return list(presentation.save(drawn, workdir))


def _card(name: str, part: Mapping[str, Any]) -> Card:
    return Card(name, f"{part['mean']:.4g}", f"± {part['sd']:.2g} over {len(part['values'])} runs")
