"""Four fake CPU devices, strict promotion and the real data; set up before anything imports JAX."""

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
