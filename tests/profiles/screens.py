"""Profiles that many tests of this folder draw, and the slow computations that they are held against."""

import importlib.util
from pathlib import Path

import polars as pl

from cellfx.profiles.tables.table import Profiles


def reference(name):
    """The module ``tests/reference/<name>.py``."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"reference/{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def numbered(features, metadata, prefix="f"):
    """Features f0, f1, ... beside a table of metadata."""
    return Profiles(features, tuple(f"{prefix}{i}" for i in range(features.shape[1])), metadata)


def profiles_of(features, **columns):
    """Features beside columns of metadata, whose names lack ``Metadata_``."""
    return numbered(features, pl.DataFrame({f"Metadata_{name}": list(v) for name, v in columns.items()}))


def grouped(rng, group, num_features, effect):
    """Noise (N, D), and to the rows of each group, numbered from 0, something of its own of this size."""
    noise = rng.normal(size=(len(group), num_features))
    return noise + effect * rng.normal(size=(group.max() + 1, num_features))[group]
