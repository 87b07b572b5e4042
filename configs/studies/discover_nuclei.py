"""From images to a formula, on real nuclei: Soelistyo & Lowe 2024 (arXiv:2402.03115), here on MitoCheck's.

Five folds by plate: encoders, heads and formulas never see the plates that they are judged on. Interphase against
metaphase for all four schemes; five mitotic classes and all 16 for schemes 2 to 4.

    bin/study --config configs/studies/discover_nuclei.py --config.train.data.folder=/data/mitocheck \
        --config.cnn.data.folder=/data/mitocheck --workdir runs/discover_nuclei
"""

import os

from ml_collections import ConfigDict

FILE_NAME = r"(?P<Plate>.+?)___P(?P<Well>\d+)_\d+___T(?P<Frame>\d+)___X(?P<X>\d+)___Y(?P<Y>\d+)"
TWO = {"interphase": ("Interphase",), "metaphase": ("Metaphase", "MetaphaseAlignment")}
FIVE = {name: (name,) for name in ("Interphase", "Prometaphase", "MetaphaseAlignment", "Metaphase", "Anaphase")}
DENSE = {"dropout": 0.0, "l2": 3e-3, "num_epochs": 300}
SPARSE = {"sparsity": 0.951, "update_every": 115, "update_rate": 0.758, "learning_rate": 6e-3, "l2": 1e-3}
"""A fold has some 500 labelled cells, seven batches: training for longer, held back by a penalty, did better on
validation cells (balanced accuracy dense .921 -> .936, sparse .912 -> .931)."""
BUDGET = {"population": 150, "generations": 20, "islands": 2, "searches": 1, "starts": 2}
SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict({"train": _encoder(), "cnn": {"stage": "train", **_network()}, "embed": {"after": ("train",)}})
    for suffix, classes in (("", TWO), ("5", FIVE), ("16", None)):
        config[f"heads{suffix}"] = ConfigDict({"stage": "heads", "after": ("embed",), "classes": classes})
        config[f"heads{suffix}"].update({"num_seeds": 10 if classes is TWO else 3, "dense": dict(DENSE)})
        config[f"heads{suffix}"].sparse = ConfigDict({**SPARSE, "num_epochs": {"": 1000, "5": 500, "16": 200}[suffix]})
        config[f"distill{suffix}"] = ConfigDict(_search(f"heads{suffix}", classes))
    config.attack = ConfigDict({"after": ("train", "cnn", "embed", "heads", "distill")})
    shown = {"Interphase against metaphase": {}}
    for suffix, name in (("5", "Five mitotic classes"), ("16", "All 16 classes")):
        shown[name] = {"cnn": None, "heads": f"heads{suffix}", "distill": f"distill{suffix}"}
    after = (
        "train",
        "cnn",
        "embed",
        "attack",
        *(f"{kind}{n}" for kind in ("heads", "distill") for n in ("", "5", "16")),
    )
    config.report = ConfigDict({"after": after, "title": "From nuclei to a formula", "questions": shown})
    if size == "tiny":
        _shrink(config)
    return config


def _search(heads: str, classes: dict | None) -> dict:
    """Ten formulas would take an hour; classes that are many get one search each, for what the network says."""
    section = {"stage": "distill", "after": ("embed", heads), "heads": heads, "classes": classes, "backend": "auto"}
    section |= {"num_seeds": 3 if classes is TWO else 1, "max_rows": 1_000, "budget": dict(BUDGET)}
    return section if classes is TWO else {**section, "targets": ("outputs",)}


def _encoder() -> dict:
    data = {**_images(), "image_size": 48}
    model = {"name": "tcvae", "latents": 32, "filters": (16, 32, 64, 64), "hidden": 256, "alpha": 1.0, "beta": 2.0}
    model |= {"gamma": 1.0, "estimator": "weighted", "scale": 0.1, "window_px": 14.0, "background": 0.1}
    optim = {"name": "adam", "learning_rate": 1e-3, "warm_up_rate": 0.05, "decay": "cosine"}
    train = {"num_epochs": 60, "seed": 0, "steps_per_call": 10, "log_every": 10, "eval_every": 300, "save_every": 300}
    return {
        "data": data,
        "input": {"pipeline": "device", "batch_size": 128, "flips": True, "rotations": True},
        "model": model,
        "optim": optim,
        "train": train,
        "probe": {"head": "mlp", "symmetries": True, "classes": TWO},
        "repeats": {"over": "fold", "num_runs": 5},
    }


def _network() -> dict:
    """Scheme 1; it sees the images of the two classes alone."""
    model = {"name": "cnn", "filters": (8, 16, 32, 64), "widths": (32, 16, 16, 16), "dropout": 0.3, "balanced": True}
    train = {"num_epochs": 100, "seed": 0, "steps_per_call": 10, "log_every": 10, "eval_every": 200, "save_every": 200}
    return {
        "data": {**_images(), "image_size": 64, "grouped": TWO},
        "input": {"pipeline": "device", "batch_size": 64, "flips": True, "rotations": True},
        "model": model,
        "optim": {"name": "adam", "learning_rate": 3e-3, "warm_up_rate": 0.05, "decay": "cosine"},
        "train": train,
        "probe": {"symmetries": True},
        "repeats": {"over": "fold", "num_runs": 5},
    }


def _images() -> dict:
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "mitocheck")
    data = {"name": "nuclei", "folder": folder, "metadata_regex": FILE_NAME, "group": "Metadata_Plate", "num_folds": 5}
    balance = ("Interphase", "Metaphase", "MetaphaseAlignment")
    return data | {"fold": 0, "valid_rate": 0.15, "seed": 0, "balance": balance, "on_error": "raise"}


def _shrink(config: ConfigDict) -> None:
    """A first try, in a minute."""
    for stage in ("train", "cnn"):
        config[stage].data.image_size = 16
        config[stage].input.batch_size = 16
        config[stage].train.update({"num_epochs": 1, "eval_every": 100, "save_every": 100})
        config[stage].repeats.num_runs = 1
    config.train.model.update({"latents": 4, "filters": (4, 4), "hidden": 16})
    config.cnn.model.update({"filters": (4, 4), "widths": (8, 4)})
    for suffix in ("", "5", "16"):
        for kind in ("dense", "sparse"):
            config[f"heads{suffix}"][kind].num_epochs = 2
        config[f"heads{suffix}"].num_seeds = 1
        config[f"distill{suffix}"].update(
            {"num_seeds": 1, "budget": {"population": 20, "generations": 2, "islands": 1}}
        )
    config.attack.update({"num_images": 8, "num_steps": 2, "epsilons_image_l2": (), "epsilons_latent": ()})
