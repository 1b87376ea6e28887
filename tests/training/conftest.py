"""Training runs in processes of their own."""

import pytest
from helpers.starts import Starts


@pytest.fixture(scope="session")
def starts():
    """Starts processes of `lit-rnncomp`."""
    server = Starts()
    yield server
    server.close()
