"""The page that tells a study: the four schemes, the latents that matter, the formulas, and what fools them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cellfx.files.whole import write_whole
from cellfx.files.workdir import say
from cellfx.findings.page import versions
from cellfx.report.page import Section
from cellfx.report.page import report as page
from cellfx.settings import check_call
from cellfx.studies import discover_page as parts
from cellfx.studies import scheme_table
from cellfx.studies.stages import ShownStage


class Question(NamedTuple):
    """Classes that are told apart, and the stages that do so.

    Attributes:
        cnn: stage of scheme 1; None where there is none, as for the others.
        heads: stage of schemes 2 and 3.
        distill: stage of scheme 4.
    """

    cnn: ShownStage | None = "cnn"
    heads: ShownStage | None = "heads"
    distill: ShownStage | None = "distill"


def report(
    folder: Path,
    inputs: Mapping[str, Path],
    title: str = "From images to a formula",
    questions: Mapping[str, Mapping[str, Any]] | None = None,
    embed: ShownStage = "embed",
    attack: ShownStage | None = "attack",
) -> Sequence[Path]:
    """Writes report.html of the study, and the numbers and figures in it to the stage's folder.

    Args:
        folder: of the stage.
        inputs: all stages that are shown; the page has no part about others.
        title: of the page.
        questions: heading -> fields of ``Question``. The one with fewest is told in full, of others the table.
        embed: stage with codes and traversals.
        attack: stage whose figures are shown; None for none.

    Returns:
        The page, in the study's folder.
    """
    workdir = folder.parent
    questions = questions or {"Two classes": {}}
    asked = {
        name: _there(Question(**questions[name]), inputs)
        for name in sorted(questions, key=lambda name: len(questions[name]))
    }
    found = {name: scheme_table.schemes(workdir, *question) for name, question in asked.items()}
    rows = {name: scheme_table.as_rows(schemes) for name, schemes in found.items()}
    write_whole(folder / "schemes.json", json.dumps(rows, indent=1).encode())
    heading, question = next(iter(asked.items()))
    sections = [parts.schemes_section(heading, found[heading], folder)] if found[heading] else []
    if embed in inputs:
        sections += [parts.latents_section(workdir, question.heads, embed, folder)] if question.heads else []
        sections += [parts.formulas_section(workdir, question.distill, embed, folder)] if question.distill else []
    sections += parts.attack_sections(inputs[attack]) if attack in inputs else []
    others = {name: schemes for name, schemes in list(found.items())[1:] if schemes}
    sections += [Section(name, "", [parts.table_of(schemes, folder)]) for name, schemes in others.items()]
    wanted = [stage for name in asked for stage in Question(**questions[name])]
    sections += left_out([embed, *wanted, attack], inputs)
    settings = json.loads((workdir / "study.json").read_text())
    text = page(title, sections, parts.cards(found[heading]), workdir.name, settings, versions())
    write_whole(workdir / "report.html", text.encode())
    for name, schemes in found.items():
        for scheme in schemes:
            values = parts.mean_of(scheme.scores[parts.MAIN])
            say(f"{name}, {scheme.name}: {parts.MAIN} {values}, {scheme.sizes.mean():.0f} nodes")
    say(f"report: {workdir / 'report.html'}")
    return [workdir / "report.html"]


def left_out(wanted: Sequence[str | None], inputs: Mapping[str, Path]) -> list[Section]:
    """A section that names the stages a page would show and the study does not have; none where it has all."""
    missing = dict.fromkeys(stage for stage in wanted if stage is not None and stage not in inputs)
    text = f"The study has no stage {', '.join(missing)}; the page has no part about what it would have found."
    return [Section("Left out", text)] if missing else []


def _there(question: Question, inputs: Mapping[str, Path]) -> Question:
    """The question without the stages that the study does not have."""
    return Question(*(stage if stage in inputs else None for stage in question))


def check(questions: Mapping[str, Mapping[str, Any]] | None = None, **others: Any) -> None:
    """Raises a ValueError for a question that is none."""
    del others
    for name, question in (questions or {}).items():
        check_call(Question, f"report.questions.{name}", question)
