"""The contexts in which computations must come out the same."""

import agreement
import pytest


@pytest.fixture(scope="module")
def contexts():
    return agreement.create_contexts()


@pytest.fixture(scope="module", params=["one shard", "two shards", "debug"])
def context(request, contexts):
    return contexts[request.param]
