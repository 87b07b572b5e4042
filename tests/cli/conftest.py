import os

import pytest
from absl import logging


@pytest.fixture(autouse=True)
def kept_process(tmp_path, monkeypatch):
    """Commands set the process up for themselves; no other test, and no cache of the user's, may see it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before, verbosity = dict(os.environ), logging.get_verbosity()
    yield
    os.environ.clear()
    os.environ.update(before)
    logging.set_verbosity(verbosity)
