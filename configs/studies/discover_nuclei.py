"""From images to a formula, on real nuclei: Soelistyo & Lowe 2024 (arXiv:2402.03115), here on MitoCheck's.

Five folds by plate: encoders, heads and formulas never see the plates that they are judged on. Interphase against
metaphase for all four schemes; five mitotic classes and all 16 for schemes 2 to 4. All cells are moved to the middle
and turned along the horizontal: otherwise most latents tell where and how a nucleus lies, and no short formula its
shape. Scheme 1 is that of configs/cnn_nuclei.py, the encoder that of configs/tcvae_nuclei.py, made smaller.

Measured on mitocheck, 2 CPU cores, balanced accuracy over all views: scheme 1 .951 +- .023, scheme 2 .935 +- .036,
scheme 3 .944 +- .033, scheme 4 .922 +- .046 with 14 nodes; five classes .83, .75, .59 and 16 classes .61, .30, .18 for
schemes 2 to 4; 25 minutes.

    CELLFX_DATA=/data bin/study --config configs/studies/discover_nuclei.py --workdir runs/discover_nuclei
"""

from ml_collections import ConfigDict

from cellfx.cli.config import load

TWO = {"interphase": ("Interphase",), "metaphase": ("Metaphase", "MetaphaseAlignment")}
FIVE = {name: (name,) for name in ("Interphase", "Prometaphase", "MetaphaseAlignment", "Metaphase", "Anaphase")}
DENSE = {"dropout": 0.0, "l2": 3e-3, "num_epochs": 300}
SPARSE = {"sparsity": 0.951, "update_every": 115, "update_rate": 0.758, "learning_rate": 6e-3, "l2": 1e-3}
"""A fold has some 500 labeled cells, seven batches: training for longer, held back by a penalty, did better on
validation cells (balanced accuracy dense .921 -> .936, sparse .912 -> .931)."""
EPOCHS = {"": 1000, "5": 500, "16": 200}
BUDGET = {"population": 250, "generations": 25, "islands": 2, "searches": 2, "starts": 2}
SMALL_BUDGET = {**BUDGET, "population": 150, "generations": 15, "searches": 1}
SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict({"train": _trained("tcvae_nuclei", size), "cnn": _trained("cnn_nuclei", size)})
    config.cnn.stage = "train"
    config.train.input.rotations = False
    if size == "full":
        config.train.data.image_size, config.train.train.num_epochs = 32, 60
        config.train.model.update({"latents": 12, "filters": (16, 32, 64), "window_px": 9.0})
    config.embed = ConfigDict({"after": ("train",), "rotations": False})
    for suffix, classes in (("", TWO), ("5", FIVE), ("16", None)):
        config[f"heads{suffix}"] = ConfigDict({"stage": "heads", "after": ("embed",), "classes": classes})
        config[f"heads{suffix}"].update({"num_seeds": 10 if classes is TWO else 3, "dense": dict(DENSE)})
        config[f"heads{suffix}"].sparse = ConfigDict({**SPARSE, "num_epochs": EPOCHS[suffix]})
        config[f"distill{suffix}"] = ConfigDict(_search(f"heads{suffix}", classes))
    config.attack = ConfigDict({"after": ("train", "cnn", "embed", "heads", "distill")})
    shown = {"Interphase against metaphase": {}}
    for suffix, name in (("5", "Five mitotic classes"), ("16", "All 16 classes")):
        shown[name] = {"cnn": None, "heads": f"heads{suffix}", "distill": f"distill{suffix}"}
    after = tuple(name for name in config if name != "report")
    config.report = ConfigDict({"after": after, "title": "From nuclei to a formula", "questions": shown})
    if size == "tiny":
        _shrink(config)
    return config


def _trained(name: str, size: str) -> ConfigDict:
    config = load(f"configs/{name}.py" + (":tiny" if size == "tiny" else "")).values
    config.data.update({"valid_rate": 0.15, "pose": "upright"})
    config.input.pipeline = "device"
    return config


def _search(heads: str, classes: dict | None) -> dict:
    """Ten formulas would take an hour; classes that are many get one search each, for what the network says."""
    section = {"stage": "distill", "after": ("embed", heads), "heads": heads, "classes": classes, "backend": "auto"}
    section |= {"num_seeds": 3 if classes is TWO else 1, "max_rows": 1_000, "budget": dict(BUDGET)}
    return section if classes is TWO else {**section, "targets": ("outputs",), "budget": dict(SMALL_BUDGET)}


def _shrink(config: ConfigDict) -> None:
    """A first try, in a minute or two; its formulas mean nothing."""
    config.train.model.latents = 3
    for suffix in ("", "5", "16"):
        for kind in ("dense", "sparse"):
            config[f"heads{suffix}"][kind].update({"num_epochs": 2, "batch_size": 16})
        config[f"heads{suffix}"].num_seeds = 1
        config[f"distill{suffix}"].update({"num_seeds": 1, "max_rows": 64})
        config[f"distill{suffix}"].budget.update({"population": 20, "generations": 2, "islands": 1, "iterations": 2})
    config.attack.update({"num_images": 8, "num_steps": 2, "epsilons_image_l2": (), "epsilons_latent": ()})
