"""From a config to a trained model in a workdir, and back: the module that knows all the parts."""

import contextlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from cellfx.data.images.noticed import list_sizes
from cellfx.data.input.feed import Feed
from cellfx.data.source import Source, iterate, to_float
from cellfx.files.workdir import check_owner, claim, locked, notice, read_config, say
from cellfx.findings import measure as findings
from cellfx.findings import page
from cellfx.findings.classes import check_classes
from cellfx.findings.subject import Subject, judged_by_validation, keep_preprocessing, kept_preprocessing
from cellfx.runs.kept_data import check_data, is_kept
from cellfx.runs.parts import (
    STEPS_UNKNOWN,
    Training,
    load_source,
    load_source_and_model,
    make_feed,
    make_optimizers,
    moved,
    split_at_chance,
)
from cellfx.runs.rehearsal import rehearse, state_shapes
from cellfx.runs.trained import Trained, bound, coder, sampler
from cellfx.settings import Config, call, check_sections, to_dict
from cellfx.training import checkpoint, loop, parallel
from cellfx.training.evaluate import evaluator
from cellfx.training.progress import progress, silent
from cellfx.training.state import create_state
from cellfx.training.step import train_step
from cellfx.training.writer import Writer, read_metrics
from cellfx.types import Batch, Model, Spec, StepFn, TrainState

EVALUATION_SEED = 1


class Experiment(NamedTuple):
    """All that a config describes, built.

    Attributes:
        source: the data.
        spec: what the model was told of it.
        model: for programs over ``devices``.
        optimizers: by player.
        feed: training batches, its resident arrays placed.
        step: the training step, for a program over ``devices``.
        devices: of all hosts.
        num_steps: of the whole run.
        batch_size: of the global batch.
        training: the section ``train``.
    """

    source: Source
    spec: Spec
    model: Model
    optimizers: Mapping[str, optax.GradientTransformation]
    feed: Feed
    step: StepFn
    devices: tuple[jax.Device, ...]
    num_steps: int
    batch_size: int
    training: Training


def build(config: Config, workdir: Path | None = None) -> Experiment:
    """Data, model, optimizers and feed of a config; reads the data, trains nothing.

    Args:
        config: what to build.
        workdir: of the run, whose splits are kept where it was begun; None for none.

    Raises:
        ValueError: an unknown key, name or value; a batch that the devices do not divide or the data does not fill.
        FileNotFoundError: the data is not where the config says.
    """
    settings = to_dict(config)
    training, options, devices, batch_size, *_ = rehearse(settings)
    axis_name = parallel.axis_of(devices)
    source, model, spec = _load(settings, axis_name, workdir)
    notice(source.notices)
    if options.classes is not None:
        check_classes(options.classes, source.class_names)
    if options.split == "valid":
        judged_by_validation(source)
    feed = make_feed(source, settings["input"], training, axis_name)
    num_steps = training.num_epochs * feed.steps_per_epoch
    optimizers = make_optimizers(settings["optim"], num_steps, model.losses)
    step = train_step(model, optimizers, axis_name, training.compute_dtype)
    state_shapes(model, optimizers)
    feed = feed._replace(resident=parallel.place(feed.resident, devices))
    return Experiment(source, spec, model, optimizers, feed, step, devices, num_steps, batch_size, training)


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains a config in a workdir, or goes on with what is there, then measures the model and writes the report.

    Returns:
        The scores, as in ``scores.json``.

    Raises:
        ValueError: see ``build``; or the workdir holds another config.
        loop.Interrupted: a signal came; the state is saved.
    """
    parallel.initialize_hosts()
    workdir = Path(workdir)
    check_owner(workdir, config)
    experiment = build(config, workdir)
    with locked(workdir):
        experiment = experiment._replace(source=_checked(workdir, experiment.source))
        claim(workdir, config)
        keep_preprocessing(workdir, experiment.source)
        state = train(experiment, workdir)
    if jax.process_index():
        return {}
    return report(Trained(to_dict(config), experiment.source, experiment.model, state), workdir).scores


def train(experiment: Experiment, workdir: Path) -> TrainState:
    """Trains from the newest good checkpoint of the workdir, or from the start, to the end."""
    training, axis_name = experiment.training, experiment.spec.axis_name
    program = parallel.mapped(
        experiment.step, experiment.feed.read, training.steps_per_call, experiment.devices, axis_name
    )
    state = parallel.place(_initial_state(experiment, workdir), experiment.devices)
    with Writer(workdir, int(state.step), say) as writer:
        return loop.fit(
            program,
            state,
            experiment.feed,
            num_steps=experiment.num_steps,
            steps_per_call=training.steps_per_call,
            batch_size=experiment.batch_size,
            log_every=training.log_every,
            save_every=training.save_every,
            eval_every=training.eval_every,
            save=lambda state: checkpoint.save(workdir / "checkpoints", state, training.keep),
            write=writer.write,
            evaluate=_validation(experiment),
            progress=silent() if jax.process_index() else progress(experiment.num_steps),
        )


def report(trained: Trained, workdir: Path) -> findings.Found:
    """Measures a trained model and writes scores.json, figures/ and report.html."""
    found = measure(trained)
    rows = read_metrics(workdir / "metrics.jsonl")
    page.write(found, workdir, rows, trained.settings)
    say(findings.summary(found.scores))
    say(f"report: {workdir / 'report.html'}")
    return found


def measure(trained: Trained, max_images: int | None = None) -> findings.Found:
    """What the config section ``probe`` asks of a trained model; ``max_images`` as in ``Subject``.

    Raises:
        ValueError: the section is wrong.
    """
    options = call(findings.Options, "probe", trained.settings.get("probe", {}))
    options.check()
    encode, decode = (None, None) if trained.model.encode is None else coder(trained)
    others = (trained.model.predict, trained.model.translate)
    predict, translate = (None if ability is None else bound(trained, ability) for ability in others)
    sample = None if trained.model.sample is None else sampler(trained)
    subject = Subject(trained.source, encode, decode, int(trained.state.step), predict, translate, sample, max_images)
    return findings.measure(subject, trained.settings["train"].get("seed", 0), options)


def restore(workdir: Path, place: Mapping[str, Any] | None = None) -> Trained:
    """The newest good model of a workdir; needs nothing but the workdir and the data, and one device.

    Args:
        workdir: of the run.
        place: where its data is now, if it was moved: see ``runs.parts.moved``.

    Raises:
        FileNotFoundError: no such workdir, or nothing was saved in it yet.
    """
    workdir = Path(workdir)
    settings = read_config(workdir)
    check_sections(settings)
    if settings.get("repeats", {}).get("num_runs", 1) > 1:
        raise ValueError(f"{workdir} holds several runs; expected the folder of one; choose {workdir / 'run0'}")
    settings["data"] = moved(settings["data"], place or {})
    try:
        source, model, _ = _load(settings, None, workdir, kept_preprocessing(workdir))
    except FileNotFoundError as error:
        hint = "if it was moved, --config.data.folder (labels, kept) says where it is"
        raise FileNotFoundError(f"{error}; {hint}") from None
    source = _checked(workdir, source)
    optimizers = make_optimizers(settings["optim"], STEPS_UNKNOWN, model.losses)
    state = checkpoint.restore(workdir / "checkpoints", state_shapes(model, optimizers), say)
    if state is None:
        raise FileNotFoundError(f"{workdir} holds no checkpoint yet; expected one or more; run bin/train first")
    return Trained(settings, source, model, state)


def prepare(config: Config) -> None:
    """Stores the data of a config for later runs, where its source has something to store, and says what there is.

    Raises:
        ValueError: see ``build``.
    """
    section = to_dict(config)["data"]
    source = load_source(section)
    notice(source.notices)
    module = importlib.import_module(f"cellfx.data.{section['name']}")
    if hasattr(module, "prepare"):
        stored = module.prepare(**{key: value for key, value in section.items() if key not in ("name", "grouped")})
        say(f"stored in {stored.path}")
        say("\n".join(f"{count:8,}  {name}" for name, count in stored.num_examples.items()))
        say(f"sizes: {list_sizes(stored.sizes)}")
        say(f"{len(stored.skipped)} files skipped that cannot be read {', '.join(map(str, stored.skipped))}".rstrip())
    counts = ", ".join(f"{name} {split.num_examples:,}" for name, split in source.splits.items())
    size = "x".join(map(str, source.shape))
    say(f"{source.name}: {size} images, {counts}, classes {', '.join(source.class_names) or 'none'}")


def _load(
    settings: Config, axis_name: str | None, workdir: Path | None, preprocessing: Mapping[str, Any] | None = None
) -> tuple[Source, Model, Spec]:
    """As ``load_source_and_model``; a run that was begun by an older version keeps the splits that it has."""
    older = None if workdir is None else split_at_chance(settings)
    for tried in () if older is None else (settings, older):
        with contextlib.suppress(ValueError):  # a class too small for either way to split
            found = load_source_and_model(tried, axis_name, preprocessing)
            if is_kept(workdir, found[0]):
                return found
    return load_source_and_model(settings, axis_name, preprocessing)


def _checked(workdir: Path, source: Source) -> Source:
    """The source, if it is that of the run; with a notice where files have changed."""
    changed = check_data(workdir, source)
    notice(changed)
    return source._replace(notices=(*source.notices, *changed))


def _initial_state(experiment: Experiment, workdir: Path) -> TrainState:
    saved = checkpoint.restore(workdir / "checkpoints", state_shapes(experiment.model, experiment.optimizers), say)
    if saved is not None:
        say(f"going on from step {int(saved.step)} of {experiment.num_steps}")
        return saved
    return create_state(experiment.model, experiment.optimizers, jax.random.key(experiment.training.seed))


def _validation(experiment: Experiment) -> Callable[[TrainState], Mapping[str, float]] | None:
    split = experiment.source.splits.get("valid")
    if split is None or not split.num_examples:
        return None

    def floating(batch: Batch) -> Batch:
        return {**batch, "x": to_float(batch["x"])}

    measure = evaluator(experiment.model, floating, experiment.devices, experiment.spec.axis_name)
    key, size = jax.random.key(EVALUATION_SEED), experiment.batch_size
    return lambda state: measure(state.params, state.extra, parallel.host_part(iterate(split, size)), key, state.step)
