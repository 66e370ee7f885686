"""Optuna's studies, as sweeps use them: in memory, and silent.

A sweep keeps its own record of trials (`study.json` and the folders of its runs), from which each
session makes a study anew. So there is nothing that Optuna would have to store.
"""

# Tested in tests/studies/sweep/test_tpe.py and tests/studies/sweep/test_pruning.py.

import optuna


def create(
    minimize: bool,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Makes a study that knows of no trial.

    Args:
      minimize: Whether less of the objective is better.
      sampler: Sampler that suggests trials; None for Optuna's default.
      pruner: Pruner that says which trials are worth no more rounds; None for Optuna's default.

    Returns:
      The study, in memory.
    """
    # Optuna tells of every study and every trial otherwise.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if minimize else "maximize"
    return optuna.create_study(direction=direction, sampler=sampler, pruner=pruner)
