"""Says at the end how many cases were tried, and how to try them again."""

from tests.fuzzing import cases


def pytest_terminal_summary(terminalreporter, config):
    if cases.IS_NIGHTLY:
        tried, seed = cases.tried, config.getoption("hypothesis_seed", None)
        terminalreporter.write_line(
            f"{tried['cases']:,} cases by seed {seed}: {tried['accepted']:,} times something was "
            f"accepted, {tried['refused']:,} times refused; again: make fuzz FUZZ_SEED={seed}"
        )
