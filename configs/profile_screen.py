"""Mechanisms of a drawn screen from the latents of its cells: the whole way from images to scores, on known effects.

The mean of a well's cells, then the wells normalized in three ways; compared are compounds at their highest dose.
Train, embed, profile:

    bin/train --config configs/tcvae_screen.py --workdir runs/screen
    bin/embed --workdir runs/screen
    bin/profile --config configs/profile_screen.py --workdir runs/profile_screen

Another run's latents: ``--config.profiles.path=<its folder>/latents.parquet``.
"""

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    compound, dose, mechanism = "Metadata_Compound", "Metadata_Dose_um", "Metadata_MOA"
    batch, plate, control = "Metadata_Batch", "Metadata_Plate", "Metadata_Control"
    config = ConfigDict()
    config.profiles = ConfigDict({"path": "runs/screen/latents.parquet"})
    by = (batch, plate, "Metadata_Well", compound, dose, mechanism, control)
    config.aggregate = ConfigDict({"by": by, "method": "mean"})
    config.columns = ConfigDict({"treatment": (compound, dose), "compound": compound, "dose": dose})
    config.columns.update({"mechanism": mechanism, "batch": batch})
    config.controls = ConfigDict({"column": control, "values": ("true",)})
    config.compared = ConfigDict({"highest_dose": True, "mechanism_size": 2})
    config.pictures = ConfigDict({"plates": ("z000",)})
    config.variants = (
        ("raw", ()),
        ("standardized by plate", ({"name": "standardize", "on": "controls"},)),
        ("spherized", ("spherize",)),
        ("spherized by batch", ({"name": "spherize", "by": (batch,)},)),
    )
    if size == "tiny":
        config.variants = config.variants[:3]
    return config
