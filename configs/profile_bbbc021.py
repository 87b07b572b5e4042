"""BBBC021 (MCF-7 cells, 103 treatments, 12 mechanisms): mechanisms by the nearest treatment of another compound.

As Ljosa et al. 2013 and Valletta et al.: the mean of a well's cells, the median of a treatment's wells, 1-nearest
neighbor with cosine similarity, not the same compound. The table is one of single cells with features, for instance
from ``bin/embed``, with the columns named below. Published: means of CellProfiler's features 0.83 (Ljosa); SparseVAE
0.885 to 0.904, CytoVAE 0.885 (beta 0) and 0.837 (beta 1), with an adversary 0.904 and 0.827 (Valletta, table 1);
CytoVAE 0.835, CytoVAE+ 0.906 (Lafarge et al. 2019, as Valletta quotes them).

    CELLFX_DATA=/data bin/profile --config configs/profile_bbbc021.py --workdir runs/bbbc021
"""

import os

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "bbbc021")
    compound, dose, mechanism = "Metadata_Compound", "Metadata_Concentration", "Metadata_MOA"
    config = ConfigDict()
    config.profiles = ConfigDict({"path": os.path.join(folder, "cells.parquet")})
    by = ("Metadata_Batch", "Metadata_Plate", "Metadata_Well", compound, dose, mechanism)
    config.aggregate = ConfigDict({"by": by, "method": "mean"})
    config.columns = ConfigDict({"treatment": (compound, dose), "compound": compound, "dose": dose})
    config.columns.update({"mechanism": mechanism, "batch": "Metadata_Batch"})
    config.controls = ConfigDict({"column": compound, "values": ("DMSO",)})
    config.compared = ConfigDict({"mechanism_size": 2})
    config.consensus = ConfigDict({"method": "median"})
    config.scores = ConfigDict({"similarity": "cosine"})
    config.variants = (("means", ()), ("standardized by plate", ({"name": "standardize", "on": "controls"},)))
    config.variants += (("spherized", ("spherize",)), ("spherized by batch", ({"name": "spherize", "by": by[:1]},)))
    if size == "tiny":
        config.scores.replicates = False
    return config
