"""The sections of the page that tells a study of four schemes, from the numbers and pictures of its stages."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellfx.analysis.disentanglement.naming import strongest_factors
from cellfx.distill.expressions.evaluate import guarded, numpy_evaluate
from cellfx.distill.expressions.markup import to_mathml
from cellfx.findings.page import Figure, save
from cellfx.heads import codes
from cellfx.report.charts import formulas, schemes, topology
from cellfx.report.page import Card, Formula, Picture, Section, Table
from cellfx.sparsity import compact
from cellfx.studies.scheme_table import Scheme, spread
from cellfx.studies.stages.distill import expressions_of, read_run
from cellfx.studies.stages.embed import read_arrays
from cellfx.studies.stages.heads import code_files

MAIN = "balanced_accuracy_of_views"

TEXTS = {
    "schemes": "Ways from an image to its class, from a network nobody can read to a line of algebra. All were "
    "judged on the same test images, which none of them learnt from. The answers to all flips and turns of an image "
    "are averaged; the table also gives what a single view is worth.",
    "latents": "A sparse classifier keeps few of its connections, so it has to choose among the latents. Which does it "
    "choose, whatever the random start? A latent matters to a classifier if shuffling it over the images costs "
    "accuracy.",
    "formulas": "Each formula stands in the place of one sparse classifier: {meaning}. From labels: "
    "fitted to the classes themselves under the hinge loss; from outputs: to what the network says, under squared "
    "error.",
    "attacks": "How small a change makes a classifier wrong? Attacks know the classifier and follow its gradient, on "
    "the image or on its latents; scheme 1 has none, it sees what the decoder draws.",
    "odd": "What microscopes send when something fails. Whatever a classifier says to these is wrong; where their "
    "latents lie on the training distribution tells why it says so.",
}


def schemes_section(heading: str, found: Sequence[Scheme], folder: Path) -> Section:
    """The schemes of one question, as a chart and a table."""
    sizes, scores = (
        {scheme.name: values for scheme, values in zip(found, each, strict=True)}
        for each in (
            [scheme.sizes for scheme in found],
            [scheme.scores[MAIN] for scheme in found],
        )
    )
    chart = schemes.schemes(sizes, scores, "balanced accuracy")
    pictures = save(
        [Figure("schemes", chart, "Balanced accuracy of every scheme against the size of its expression")], folder
    )
    return Section(f"The schemes: {heading.lower()}", TEXTS["schemes"], [table_of(found, folder), *pictures])


def table_of(found: Sequence[Scheme], folder: Path) -> Table:
    """One row for each scheme."""
    columns = ("scheme", "balanced accuracy, all views", "accuracy, all views", "balanced accuracy, one view")
    columns += ("weights or constants", "latents", "nodes", "models")
    rows = [
        (
            scheme.name,
            *(mean_of(scheme.scores.get(name)) for name in (MAIN, "accuracy_of_views", "balanced_accuracy")),
            f"{scheme.weights.mean():,.0f}",
            "image" if scheme.inputs is None else f"{scheme.inputs.mean():.1f}",
            f"{scheme.sizes.mean():,.0f}",
            len(scheme.sizes),
        )
        for scheme in found
    ]
    return Table(columns, rows, "Mean and standard deviation over encoders and seeds.", f"{folder.name}/schemes.json")


def latents_section(workdir: Path, heads: str, embed: str, folder: Path) -> Section:
    """Which latents the sparse heads of the first encoder chose, what each does, and how the heads read them."""
    run, encoded, drawn = _first(workdir, heads, embed)
    rows = json.loads((workdir / heads / run / "scores.json").read_text())["sparse"]
    stored = json.loads((workdir / heads / run / "sparse.json").read_text())
    count = encoded.views.shape[2]
    kept, chosen = (
        np.bincount([i for row in rows for i in row[key]], minlength=count) for key in ("latents", "chosen")
    )
    lost = [np.mean([row["importance"].get(str(i), 0.0) for row in rows]) for i in range(count)]
    shown = [int(i) for i in np.lexsort((-np.array(lost), -chosen)) if kept[i]]
    names = _named(encoded)
    figure = schemes.latents_chosen(
        chosen[shown], len(rows), [names[i] for i in shown], drawn["images"][shown], drawn["values"][shown]
    )
    networks = [compact.from_json(network) for network in stored["networks"]]
    titles = [f"seed {row['seed']} · {row['test'][MAIN]:.1%}" for row in rows]
    best = int(np.argmax([row.get("valid", row["test"])[MAIN] for row in rows]))
    inputs = [f"z{i}" for i in networks[best].inputs]
    figures = [
        Figure("latents_chosen", figure, "How many sparse heads need each latent, and what the latent draws"),
        Figure(
            "topology", topology.topology(networks[best], inputs, stored["class_names"]), f"Sparse head of seed {best}"
        ),
        Figure("topologies", topology.topologies(networks, titles, stored["class_names"]), "Sparse heads of all seeds"),
    ]
    source = f"{heads}/{run}/scores.json"
    table = Table(
        ("latent", "kept by", "matters to", "accuracy lost when shuffled"),
        [(names[i], f"{kept[i]} of {len(rows)}", f"{chosen[i]} of {len(rows)}", float(lost[i])) for i in shown],
        f"Sparse heads of {run}, the first encoder.",
        source,
    )
    return Section("The latents that matter", TEXTS["latents"], [*save(figures, folder), table])


def formulas_section(workdir: Path, distill: str, embed: str, folder: Path) -> Section:
    """The formulas of every seed of the first encoder, the front they come from, and where the best draws its line."""
    run, encoded, _ = _first(workdir, distill, embed)
    rows = read_run(workdir / distill / run)
    classes = rows[0]["class_names"]
    held_out = "valid" if np.any(encoded.split == "valid") else "train"
    best = max(rows, key=lambda row: row["by_target"][row["target"]]["scores"][held_out]["balanced_accuracy"])
    source = f"{distill}/{run}/seed{best['seed']}.json"
    parts: list[Any] = [
        Formula(to_mathml(each), row["text"], f"Above zero: {name}. {_outside(each)}".strip(), source)
        for each, row, name in zip(
            expressions_of(best),
            best["by_target"][best["target"]]["formulas"],
            classes[1:] if len(classes) == 2 else classes,
            strict=True,
        )
    ]
    listed = [
        (row["seed"], target, Formula(to_mathml(each), formula["text"]), formula["nodes"], part["scores"]["test"][MAIN])
        for row in rows
        for target, part in row["by_target"].items()
        for each, formula in zip(expressions_of(row, target), part["formulas"], strict=True)
    ]
    columns = ("seed", "fitted to", "formula", "nodes", "balanced accuracy, all views")
    parts.append(Table(columns, listed, f"All formulas of {run}.", f"{distill}/{run}/"))
    parts += save(_formula_figures(best, encoded, classes), folder)
    meaning = f"above zero means {classes[-1]}" if len(classes) == 2 else "the largest names the class"
    return Section("Formulas", TEXTS["formulas"].format(meaning=meaning), parts)


def _outside(expression: Any) -> str:
    """What a formula means outside the domain of its operators, as a sentence."""
    meaning = guarded(expression)
    return f"Outside the domain {meaning}." if meaning else ""


def _formula_figures(best: Mapping[str, Any], encoded: codes.Codes, classes: Sequence[str]) -> list[Figure]:
    part = best["by_target"][best["target"]]
    front = part["fronts"][0]
    complexity, loss, accuracy = (
        np.array([row[key] for row in front], np.float64) for key in ("complexity", "valid_loss", "valid_accuracy")
    )
    texts = [row["text"] for row in front]
    chosen = texts.index(part["formulas"][0]["text"])
    figures = [
        Figure(
            "front",
            formulas.pareto_front(complexity, loss, accuracy, chosen),
            "Loss and accuracy of formulas on validation images against their complexity",
        )
    ]
    expression = expressions_of(best)[0]
    latents = best["latents"]
    if len(classes) == 2 and len(latents) > 1:
        names = [f"z{i}" for i in range(encoded.views.shape[2])]
        rows = encoded.split == "test"
        chart = formulas.decision_surface(
            lambda z: numpy_evaluate(expression, z, names),
            encoded.views[0][rows],
            encoded.label[rows],
            (latents[0], latents[1]),
            classes,
            latents[2] if len(latents) > 2 else None,
        )
        figures.append(
            Figure("decision", chart, "Where the formula divides the classes, in the latents that matter most")
        )
    return figures


def attack_sections(folder: Path) -> list[Section]:
    """What a stage ``attack`` drew."""

    def pictures(*names: str) -> list[Picture]:
        alt = {name: name.replace("_", " ") for name in names}
        return [
            Picture((folder / "figures" / f"{name}.png").read_bytes(), alt[name], "", f"{folder.name}/scores.json")
            for name in names
        ]

    return [
        Section("Attacks", TEXTS["attacks"], pictures("accuracy_under_attack", "attacked_images", "attacked_latents")),
        Section("Odd images", TEXTS["odd"], pictures("odd_images", "odd_latents")),
    ]


def _first(workdir: Path, stage: str, embed: str) -> tuple[str, codes.Codes, dict[str, np.ndarray]]:
    """Name of the first encoder, its codes of the classes of a stage, and its traversals."""
    run, path = next(iter(code_files(workdir / embed).items()))
    mark = json.loads((workdir / stage / "stage.json").read_text())
    encoded = codes.grouped(codes.load(path), mark["settings"].get("classes"))
    return run, encoded, read_arrays(path.with_name(f"{run}-traversals.npz"))


def _named(encoded: codes.Codes) -> list[str]:
    """z0, z1, ... and where the factors are known the one that each follows."""
    count = encoded.views.shape[2]
    if encoded.factors is None:
        return [f"z{i}" for i in range(count)]
    strongest = strongest_factors(encoded.views[0], encoded.factors, encoded.factor_names)
    return [
        f"z{i} · {found[0][0]} {found[0][1]:+.2f}".replace("-", "\N{MINUS SIGN}") for i, found in enumerate(strongest)
    ]


def cards(found: Sequence[Scheme]) -> list[Card]:
    """Key numbers of the study."""
    rate, note = "{:.1%}".format, "balanced accuracy, {:,.0f} nodes".format
    return [Card(scheme.name, rate(scheme.scores[MAIN].mean()), note(scheme.sizes.mean())) for scheme in found]


def mean_of(values: np.ndarray | None) -> str:
    """Mean and standard deviation in words; nothing where there are no values."""
    if values is None:
        return ""
    part = spread(values)
    return f"{part['mean']:.4f} ± {part['sd']:.4f}" if part["count"] > 1 else f"{part['mean']:.4f}"
