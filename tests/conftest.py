"""Fixtures shared by all tests."""

import gc
import itertools
import os
import pathlib
import random
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

# XLA reads its flags once in a process: what compiles first must not decide over other tests.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_fast_min_max=false"

# Until all files are imported.
gc.disable()

_DEFAULT_DATA_DIR = pathlib.Path(__file__).resolve().parents[1].parent / "shared" / "data"


# Examples of the property tests may take their time on a busy machine.
hypothesis.settings.register_profile(
    "fedrec_tff", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fedrec_tff")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the order of chance."""
    help_text = "shuffle files, and tests within each, by this seed: no test may depend on another"
    parser.addoption("--shuffle", type=int, metavar="SEED", help=help_text)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffles, if so asked; tests of a file stay together, since they share its fixtures."""
    seed = config.getoption("shuffle")
    if seed is not None:
        draw = random.Random(seed)
        files = [list(tests) for _, tests in itertools.groupby(items, lambda item: item.path)]
        draw.shuffle(files)
        for tests in files:
            draw.shuffle(tests)
        items[:] = itertools.chain(*files)


def pytest_collection_finish() -> None:
    """Looks for garbage from now on, but not among what was imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What killed processes leave of their temporary files goes when all tests are done."""
    # Made before, so that it is not in there: failed tests are looked into afterwards.
    tmp_path_factory.getbasetemp()
    with (
        tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_is_garbage() -> Iterator[None]:
    """Looks for garbage among what a file of tests has made, and not among all that came before.

    Thousands of graphs, kept by TensorFlow's caches, would be looked through again and again.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data_dir() -> pathlib.Path:
    """The folder of real data sets; the test is skipped where there is none."""
    path = pathlib.Path(os.environ.get("FEDREC_TFF_DATA_DIR", _DEFAULT_DATA_DIR))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set FEDREC_TFF_DATA_DIR")
    return path


@pytest.fixture(scope="session")
def native() -> Iterator[None]:
    """TFF's own runtime as the current context, one worker for all tests."""
    # Imported here, so that tests without TensorFlow stay light.
    from fedrec_tff.execution import native as native_lib

    with native_lib.native_context():
        yield
