"""Four fake CPU devices, strict promotion and the real data; set up before anything imports JAX."""

import copy
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TQDM_DISABLE", "1")  # as commands do; it counts when tqdm is imported
os.environ["JAX_PLATFORMS"] = os.environ.get("CELLFX_TEST_PLATFORM", "cpu")
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: bin/test --slow runs it"))


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data that CELLFX_DATA names."""
    folder = os.environ.get("CELLFX_DATA")
    if not folder:
        pytest.skip("CELLFX_DATA is not set: the real data lies elsewhere")
    if not Path(folder).is_dir():
        pytest.fail(f"CELLFX_DATA names no folder: got {folder}")
    return Path(folder)


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory):
    """Programs compiled in a test that uses this are kept on disk, so that the next one to need them finds them."""
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def tiny():
    """Function (section=fields, ...) -> the settings of configs/tcvae.py:tiny on one device with other fields."""
    from cellfx.cli import config
    from cellfx.settings import to_dict

    loaded = to_dict(config.load("configs/tcvae.py:tiny").values)

    def changed(**sections):
        settings = copy.deepcopy(loaded)
        settings["train"]["num_devices"] = 1
        for section, fields in sections.items():
            settings[section].update(fields)
        return settings

    return changed


@pytest.fixture(scope="session")
def finished(tiny, compiled_once, tmp_path_factory):
    """The workdir of a finished run of ``tiny()``; not to be written to."""
    from cellfx.runs import experiment

    workdir = tmp_path_factory.mktemp("runs") / "finished"
    experiment.run(tiny(), workdir)
    return workdir


@pytest.fixture(scope="session")
def flow(tmp_path_factory):
    """A folder of cells of three phases, in the channels that the configs for cells in flow name."""
    import numpy as np
    import tifffile

    folder, rng = tmp_path_factory.mktemp("data") / "flow", np.random.default_rng(0)
    metadata = {"axes": "CYX", "Channel": {"Name": ["brightfield", "PI", "side scatter"]}}
    for label, name in enumerate(("G1", "G2", "S_phase")):
        (folder / name).mkdir(parents=True)
        for cell in range(15):
            image = rng.integers(20, 400 + 300 * label, (3, 18, 17), np.uint16)
            tifffile.imwrite(folder / name / f"cell{cell:03d}.ome.tif", image, metadata=metadata)
    return folder
