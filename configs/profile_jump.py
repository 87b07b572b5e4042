"""Four plates of CPJUMP1 (U2OS cells, 306 compounds, 48 hours), well-level CellProfiler profiles of JUMP Cell Painting.

Chandrasekaran et al. 2024, doi:10.1038/s41592-024-02241-6, publish the mean average precision of every compound; the
variant "as published" repeats it. Mechanisms are those of the annotation table; where it lists several, the list is a
mechanism of its own, as Bornholdt 2021 has it, unless --config.columns.multilabel=True lets one label be enough.

The step ``spherize`` is a name or a mapping. Controls are fewer than features here, and ``regularization`` says what is
divided by where they tell little: "mean_floor" (the default: no less than ``floor``, 1, times their mean variance),
"median_floor", "ledoit_wolf" or "pycytominer" (variances as measured). ``epsilon`` is added to all variances;
``unseen`` is "smallest" or "drop", for directions that no control varies in. See docs/results/spherizing.md.

A table of your own may be CSV, TSV, Parquet, AnnData or SQLite of CellProfiler (Image, Cells, Cytoplasm, Nuclei; add a
section ``aggregate``). ``profiles.convention = "cellprofiler"`` takes the columns that start with Cells_, Cytoplasm_ or
Nuclei_ as features and Image_Metadata_X as Metadata_X. ``profiles.split = {"Metadata_Plate": "(?P<Batch>[^_]+)_"}``
makes the column Metadata_Batch from the plate's name.

    CELLFX_DATA=/data bin/profile --config configs/profile_jump.py --workdir runs/jump
"""

import os

from ml_collections import ConfigDict

SIZES = ("full", "tiny")


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"unknown size: got {size!r}, expected one of {SIZES}; correct it")
    folder = os.path.join(os.environ.get("CELLFX_DATA", "data"), "jump")
    config = ConfigDict()
    plates = "BR0011701[01]" if size == "tiny" else "BR*"
    config.profiles = ConfigDict({"path": os.path.join(folder, f"{plates}_normalized_feature_select_*.csv.gz")})
    table = os.path.join(folder, "JUMP-Target-1_compound_metadata_additional_annotations.tsv")
    on, columns = {"Metadata_broad_sample": "broad_sample"}, {"moa_list": "Metadata_moa"}
    config.annotate = ({"path": table, "on": on, "columns": columns},)
    config.columns = ConfigDict({"treatment": ("Metadata_broad_sample",), "compound": "Metadata_broad_sample"})
    config.columns.update({"mechanism": "Metadata_moa", "batch": "Metadata_Plate", "multilabel": False})
    config.controls = ConfigDict({"column": "Metadata_control_type", "values": ("negcon",)})
    config.compared = ConfigDict({"mechanism_size": 2})
    config.scores = ConfigDict({"similarity": "cosine"})
    config.pictures = ConfigDict({"map": True})
    config.variants = (
        ("as published", ()),
        ("standardized by plate", ("standardize",)),
        ("spherized", ("spherize",)),
        ("spherized as pycytominer", ({"name": "spherize", "regularization": "pycytominer"},)),
        ("spherized by plate", ({"name": "spherize", "by": ("Metadata_Plate",)},)),
    )
    return config
