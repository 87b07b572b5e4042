"""From images to a formula: Soelistyo & Lowe 2024 (arXiv:2402.03115) on built-in cells, whose law is known.

Stages: train (beta-TCVAE), cnn (scheme 1), embed (latents of all flips and turns), heads (schemes 2 and 3, ten seeds),
distill (scheme 4, ten seeds), attack, report. Settings as published where they are (supplement 2.1 to 2.4). Ours:
images of 32 pixels and 10 latents, so that it runs on a laptop; 20,000 cells without labels for the encoder, and 5,000
of them with labels for all schemes.

    bin/study --config configs/studies/discover.py --workdir runs/discover
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict({"train": _encoder(), "cnn": {"stage": "train", **_network()}})
    config.embed = ConfigDict({"after": ("train",), "max_train": 5_000, "max_test": 2_000})
    config.heads = ConfigDict({"after": ("embed",), "num_seeds": 10, "min_importance": 0.01})
    config.heads.dense = ConfigDict({"dropout": 0.3})
    config.heads.sparse = ConfigDict(
        {"sparsity": 0.951, "update_every": 115, "update_rate": 0.758, "learning_rate": 6e-3}
    )
    config.distill = ConfigDict({"after": ("embed", "heads"), "backend": "auto", "num_seeds": 10, "max_rows": 1_500})
    config.distill.budget = ConfigDict({"population": 250, "generations": 30, "islands": 2, "searches": 1, "starts": 3})
    config.attack = ConfigDict({"after": ("train", "cnn", "embed", "heads", "distill")})
    config.report = ConfigDict({"after": ("train", "cnn", "embed", "heads", "distill", "attack")})
    if size == "tiny":
        _shrink(config)
    return config


def _encoder() -> dict:
    model = {"name": "tcvae", "latents": 10, "filters": (16, 32, 64), "hidden": 256, "alpha": 1.0, "beta": 4.0}
    model |= {"gamma": 1.0, "estimator": "weighted", "scale": 0.1, "window_px": 6.0, "background": 0.1}
    train = {"num_epochs": 12, "seed": 0, "steps_per_call": 50, "log_every": 100, "eval_every": 500, "save_every": 500}
    return {
        "data": {"name": "synthetic", "num_train": 20_000, "num_valid": 2_000, "num_test": 2_000, "image_size": 32},
        "input": {"pipeline": "device", "batch_size": 128, "flips": True, "rotations": True},
        "model": model,
        "optim": {"name": "adam", "learning_rate": 1e-3, "warm_up_rate": 0.05, "decay": "cosine"},
        "train": train,
        "probe": {"head": "mlp", "symmetries": True, "train_images": 1_000, "factor_votes": 800},
    }


def _network() -> dict:
    model = {"name": "cnn", "filters": (8, 16, 32, 64), "widths": (32, 16, 16, 16), "dropout": 0.3}
    train = {"num_epochs": 100, "seed": 0, "steps_per_call": 78, "log_every": 78, "eval_every": 780, "save_every": 780}
    return {
        "data": {"name": "synthetic", "num_train": 5_000, "num_valid": 2_000, "num_test": 2_000, "image_size": 32},
        "input": {"pipeline": "device", "batch_size": 64, "flips": True, "rotations": True},
        "model": model,
        "optim": {"name": "adam", "learning_rate": 2e-3, "warm_up_rate": 0.05, "decay": "cosine"},
        "train": train,
        "probe": {"symmetries": True},
        "repeats": {"over": "seed", "num_runs": 3},
    }


def _shrink(config: ConfigDict) -> None:
    """A first try, in a minute or two; its formulas mean nothing."""
    for stage in ("train", "cnn"):
        config[stage].data.update({"num_train": 96, "num_valid": 32, "num_test": 64, "image_size": 16})
        config[stage].input.batch_size = 16
        config[stage].train.update({"num_epochs": 2, "steps_per_call": 2, "log_every": 2, "eval_every": 6})
    config.train.model.update({"latents": 4, "filters": (4, 8), "hidden": 16})
    config.train.probe.factor_votes = 20
    config.cnn.model.update({"filters": (4, 8), "widths": (8, 4)})
    config.cnn.repeats.num_runs = 1
    config.heads.update({"num_seeds": 2})
    for kind in ("dense", "sparse"):
        config.heads[kind].update({"num_epochs": 4, "batch_size": 16})
    config.heads.sparse.update({"sparsity": 0.8, "update_every": 2})
    config.distill.update({"num_seeds": 2, "max_rows": 64})
    config.distill.budget.update({"population": 20, "generations": 2, "islands": 1, "iterations": 2})
    config.attack.update({"num_images": 8, "num_steps": 2, "epsilons_image_l2": (), "epsilons_latent": ()})
