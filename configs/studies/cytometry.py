"""Cells in an imaging flow cytometer: filter, classifier, InfoGAN against beta-VAE; Isaksson 2018, here Jurkat cells.

The filter learns from drawn frames and from MitoCheck's nuclei, which have labels of what is no single cell; Jurkat
cells were gated by the instrument's software. Classifiers of seven phases from four sets of channels, over five
stratified folds; two latent models for three sets, on the first fold; and how much of the DNA stain is in the images
that need no stain. The models are those of configs/cell_filter.py, cnn_cytometry.py and so on.

    CELLFX_DATA=/data bin/study --config configs/studies/cytometry.py --workdir runs/cytometry
"""

from ml_collections import ConfigDict

from cellfx.cli.config import load

CHANNELS = {
    "bright field": ("brightfield",),
    "DNA": ("PI",),
    "label-free": ("brightfield", "side scatter"),
    "all channels": ("brightfield", "PI", "side scatter"),
}
CODED = ("bright field", "DNA", "all channels")
MODELS = {"InfoGAN": "infogan", "beta-VAE": "vae"}
SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    for name in ("cell_filter", "cell_filter_nuclei"):
        config[name] = _trained(name, size)
        config[f"screen_{name}"] = ConfigDict({"stage": "screen", "after": (name,), "filter": name})
    classifiers, latents = {}, {model: {} for model in MODELS}
    for channels, chosen in CHANNELS.items():
        classifiers[channels] = f"cnn_{_short(channels)}"
        config[classifiers[channels]] = _trained("cnn_cytometry", size, chosen)
        for model, name in MODELS.items():
            if channels in CODED:
                latents[model][channels] = f"{name}_{_short(channels)}"
                config[latents[model][channels]] = _trained(f"{name}_cytometry", size, chosen)
    config.unet = _trained("unet_vae", size, ("brightfield", "PI"))
    config.unet_scatter = _trained("unet_vae", size, ("brightfield", "side scatter", "PI"))
    config.unet_scatter.model.inputs = 2
    translations = {"bright field": "unet", "bright field and side scatter": "unet_scatter"}
    config.baseline = ConfigDict({"after": tuple(classifiers.values())})
    judges = {stage: classifiers[channels] for each in latents.values() for channels, stage in each.items()}
    config.quality = ConfigDict({"after": (*judges, *classifiers.values()), "judges": judges})
    screens = {"drawn frames": "screen_cell_filter", "MitoCheck": "screen_cell_filter_nuclei"}
    report = {"stage": "cytometry", "classifiers": classifiers, "latents": latents, "screens": screens}
    report |= {"baseline": "baseline", "quality": "quality", "translations": translations, "shown": "all channels"}
    config.report = ConfigDict({**report, "after": tuple(config)})
    if size == "tiny":
        config.quality.num_generated = 40
    return config


def _trained(name: str, size: str, channels: tuple[str, ...] | None = None) -> ConfigDict:
    config = load(f"configs/{name}.py" + (":tiny" if size == "tiny" else "")).values
    config.stage = "train"
    if channels is not None:
        config.data.channels = channels
    if "tune" in config:
        del config.tune
    return config


def _short(channels: str) -> str:
    return channels.lower().replace(" ", "_").replace("-", "_")
