"""Makes ``screens``, which the tests of this folder share, importable here, and has the plate of cytominer-eval."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cellfx.profiles.tables.table import Profiles

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def cytominer_plate(data_folder):
    """What cytominer-eval was given: a missing mechanism was the group "nan"."""
    table = pl.read_csv(data_folder / "cytominer_eval" / "SQ00015054_normalized_feature_select.csv.gz")
    metadata = table.select(pl.col("^Metadata_.*$")).with_columns(pl.col("Metadata_moa").fill_null("nan"))
    features = table.select(pl.exclude("^Metadata_.*$"))
    return Profiles(features.to_numpy().astype(np.float64), tuple(features.columns), metadata)


@pytest.fixture(scope="session")
def cytominer_values(data_folder):
    """What it said of the plate."""
    return json.loads((data_folder / "cytominer_eval" / "reference_values.json").read_text())
