import os

import pytest
from absl import logging

from cellfx import cli


@pytest.fixture(autouse=True)
def kept_process(tmp_path, monkeypatch):
    """Commands set the process up for themselves; no other test, and no cache of the user's, may see it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before, verbosity = dict(os.environ), logging.get_verbosity()
    yield
    os.environ.clear()
    os.environ.update(before)
    logging.set_verbosity(verbosity)


@pytest.fixture
def refused(capsys):
    """Function of a command's arguments -> the one line on stderr with which it refuses them, status 2."""

    def refuse(*argv):
        status = cli.main(list(argv))
        err = capsys.readouterr().err
        assert (status, err.count("\n")) == (2, 1), err
        return err

    return refuse
