"""Learning rates that follow the round: warm-up, then a decay towards the end of the run.

A schedule is a table with a rate for each round. The same table is a constant of the process, what
TensorBoard shows, and what a test compares with.
"""

import numpy as np

from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.config import OptimizerConfig, ScheduleConfig


def create_learning_rates(optimizer: OptimizerConfig) -> np.ndarray | None:
    """The learning rate of each round.

    With R rounds, W of them warm-up, the rate of round t = 1, ..., R is the optimizer's times

    * t / (W + 1) up to round W, and then, with p = (t - W - 1) / (R - W) and the final fraction f:
    * `constant`: 1;
    * `linear`: 1 - (1 - f) p;
    * `cosine`: f + (1 - f) (1 + cos(pi p)) / 2 (Loshchilov and Hutter 2017, arXiv 1608.03983,
      equation 5, without restarts);
    * `exponential`: f to the power of p;
    * `inverse_sqrt`: sqrt(W' / max(t, W')) with W' = W + 1 (Vaswani et al. 2017, arXiv 1706.03762,
      equation 3), but no less than f.

    The final fraction is what the round after the last would have: with 0 the last round still
    learns.

    Args:
      optimizer: Settings of the optimiser, with the rate and, perhaps, a schedule.

    Returns:
      float32 [rounds], the first round's first; None where there is no schedule.
    """
    schedule = optimizer.schedule
    if schedule is None:
        return None
    rounds = np.arange(1, schedule.rounds + 1, dtype=np.float64)
    full_from = schedule.warmup_rounds + 1
    progress = (rounds - full_from) / (schedule.rounds - schedule.warmup_rounds)
    decayed = _decay(schedule, rounds, np.maximum(progress, 0.0), full_from)
    factors = np.where(rounds < full_from, rounds / full_from, decayed)
    return (optimizer.learning_rate * factors).astype(np.float32)


def _decay(
    schedule: ScheduleConfig, rounds: np.ndarray, progress: np.ndarray, full_from: int
) -> np.ndarray:
    final = schedule.final_fraction
    if schedule.name == learning_config.LINEAR:
        return 1.0 - (1.0 - final) * progress
    if schedule.name == learning_config.COSINE:
        return final + (1.0 - final) * 0.5 * (1.0 + np.cos(np.pi * progress))
    if schedule.name == learning_config.EXPONENTIAL:
        return final**progress
    if schedule.name == learning_config.INVERSE_SQRT:
        return np.maximum(np.sqrt(full_from / np.maximum(rounds, full_from)), final)
    return np.ones_like(rounds)
