"""The contexts in which secure sums must come out the same."""

import pytest

from tests.execution import agreement


@pytest.fixture(scope="module")
def contexts():
    return agreement.create_contexts()
