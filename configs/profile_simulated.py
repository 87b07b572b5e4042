"""A screen with known effects, normalized in four ways: what spherizing does to mechanisms and batches.

Sixteen mechanisms of six compounds, three batches of three plates with 64 negative controls each. Takes seconds.

    bin/profile --config configs/profile_simulated.py --workdir runs/profile_simulated
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    config = ConfigDict()
    config.profiles = ConfigDict({"simulated": {"num_mechanisms": 16, "compounds_per_mechanism": 6, "seed": 0}})
    config.profiles.simulated.sizes = ConfigDict({"mechanism": 3.0, "compound": 2.0, "batch": 4.0})
    config.columns = ConfigDict({"treatment": ("Metadata_Compound",), "compound": "Metadata_Compound"})
    config.columns.update({"mechanism": "Metadata_MOA", "batch": "Metadata_Batch", "dose": "Metadata_Dose_um"})
    config.controls = ConfigDict({"column": "Metadata_Control", "values": ("true",)})
    config.compared = ConfigDict({"mechanism_size": 2})
    config.scores = ConfigDict({"similarity": "cosine"})
    config.pictures = ConfigDict({"map": True, "plates": ("feature_000",)})
    config.variants = (
        ("raw", ()),
        ("standardized by plate", ("standardize",)),
        ("spherized", ("spherize",)),
        ("spherized by batch", ({"name": "spherize", "by": ("Metadata_Batch",)},)),
    )
    if size == "tiny":
        config.profiles.simulated.update({"num_mechanisms": 3, "compounds_per_mechanism": 4, "num_controls": 24})
        config.profiles.simulated.num_features = 12
        config.profiles.simulated.plates_per_batch = 2
    return config
