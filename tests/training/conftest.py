"""Training runs in processes of their own, and pictures for short ones in this."""

import pytest
from helpers.starts import Starts
from helpers.ternary_runs import soft_pictures


@pytest.fixture(scope="session")
def starts():
    """Starts processes of `lit-rnncomp`."""
    server = Starts()
    yield server
    server.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with five soft pictures."""
    return soft_pictures(tmp_path_factory.mktemp("pictures"))
