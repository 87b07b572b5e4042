"""LINCS Cell Painting (A549 cells, 1,571 compounds, six doses): variants of tables 4.2 to 4.4 of Bornholdt 2021.

Compared are compounds at their highest dose, of known mechanism, whose mechanism another compound has too. The profiles
are the annotated plates (level 3) of broadinstitute/lincs-cell-painting, to be downloaded by hand into
``$CELLFX_DATA/lincs/profiles``. Published for CellProfiler's features, spherized: odds ratio at 99.5 % 11.75,
precision@R .056. Size tiny runs on one plate that is normalized already.

    CELLFX_DATA=/data bin/profile --config configs/profile_lincs.py --workdir runs/lincs
"""

import os

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    folder = os.environ.get("CELLFX_DATA", "data")
    config = ConfigDict()
    config.profiles = ConfigDict({"path": os.path.join(folder, "lincs", "profiles", "**", "*_augmented.csv.gz")})
    compound, dose, plate = "Metadata_broad_sample", "Metadata_mmoles_per_liter", "Metadata_Plate"
    config.columns = ConfigDict({"treatment": (compound, dose), "compound": compound, "dose": dose})
    config.columns.update({"mechanism": "Metadata_moa", "batch": "Metadata_Batch_Number", "multilabel": False})
    config.controls = ConfigDict({"column": compound, "values": ("DMSO",)})
    config.compared = ConfigDict({"highest_dose": True, "mechanism_size": 2})
    config.scores = ConfigDict({"similarity": "pearson"})
    select = {"name": "select", "operations": ("variance_threshold", "correlation_threshold", "drop_na_columns")}
    clean = {"name": "select", "operations": (("drop_na_columns", {"cutoff": 0.0}), "variance_threshold")}
    robust = {"name": "mad_robustize", "on": "controls"}
    config.variants = (
        ("mad robustize, select", (clean, robust, select)),
        (
            "mad robustize, select, no outliers",
            (clean, robust, {**select, "operations": (*select["operations"], "drop_outliers")}),
        ),
        ("mad robustize, select, spherize", (clean, robust, select, "spherize")),
        ("spherize", (clean, "spherize")),
    )
    if size == "tiny":
        name = "SQ00015054_normalized_feature_select.csv.gz"
        config.profiles.path = os.path.join(folder, "cytominer_eval", name)
        config.columns.batch = plate
        config.scores.replicates = False
        config.variants = (("as published", ()), ("spherize", ("spherize",)))
    return config
