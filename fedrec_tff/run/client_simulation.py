"""Which users attack, and whose devices fail in which round: public, drawn from seed and raw id."""

import dataclasses

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws, loading
from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation import attacks, failure_config, simulated_clients
from fedrec_tff.learning.simulation.attack_config import AttackConfig
from fedrec_tff.learning.simulation.failure_config import FailureConfig
from fedrec_tff.run import attack_knowledge, attack_targets

# What is drawn.
_ATTACKER = "attacker"
_FAILURE = "failure"


@dataclasses.dataclass(frozen=True, eq=False)
class ClientSimulation:
    """What is simulated in a run.

    Attributes:
      draws: Keyed draws of the population, for failures; public.
      attack: The attack; None for no attackers.
      failure: Failures of devices; None for devices that never fail.
      is_attacker: bool [num_users].
      failure_rate: float64 [num_users], rate at which each user's device fails.
      is_buffered: Whether clients may train older models.
    """

    draws: keyed_draws.KeyedDraws
    attack: attacks.Attack | None
    failure: FailureConfig | None
    is_attacker: np.ndarray
    failure_rate: np.ndarray
    is_buffered: bool = False

    def keep_available(self, round_number: int, rows: np.ndarray) -> np.ndarray:
        """Leaves out the clients of whom nothing will arrive.

        Args:
          round_number: The round.
          rows: int64 [cohort], rows of the population.

        Returns:
          int64 [at most cohort], in the same order.
        """
        if self.failure is None or self.failure.name not in failure_config.ABSENCES:
            return rows
        return rows[~self._draw_failures(round_number, rows)]

    def mark(
        self,
        round_number: int,
        rows: np.ndarray,
        data: client_work.ClientData,
        ages: np.ndarray | None = None,
    ) -> simulated_clients.SimulatedClient:
        """Says of clients what becomes of them.

        Args:
          round_number: The round.
          rows: int64 [clients], rows of the population.
          data: Data of these clients, stacked.
          ages: int32 [clients], ages of their models in rounds, where there is a buffer.

        Returns:
          The clients, stacked.
        """
        has_failed = np.zeros(len(rows), np.bool_)
        if self.failure is not None and self.failure.name not in failure_config.ABSENCES:
            has_failed = self._draw_failures(round_number, rows)
        return simulated_clients.SimulatedClient(
            data, self.is_attacker[rows], has_failed, ages if self.is_buffered else ()
        )

    def _draw_failures(self, round_number: int, rows: np.ndarray) -> np.ndarray:
        """Who of some users fails in a round: bool [rows], a coin for each user and round."""
        drawn = self.draws.take(rows).uniforms(_FAILURE, round_number)
        return drawn < self.failure_rate[rows]


def create_simulation(
    config: RunConfig, dataset: loading.LoadedDataset, draws: keyed_draws.KeyedDraws
) -> ClientSimulation | None:
    """Chooses attackers and targets.

    Args:
      config: The run's flags.
      dataset: The data.
      draws: Keyed draws of the training users; public.

    Returns:
      The simulation; None where nothing is simulated.

    Raises:
      UserError: If a named target is not in the catalogue, or there are too few items.
    """
    if not config.marks_clients:
        return None
    train, attack = dataset.split.train, None
    if config.attack_config is not None:
        found = attack_targets.find_targets(config.attack_config, config, dataset)
        targets = tuple(found.tolist())
        attack = attacks.Attack(
            config.attack_config.name,
            config.attack_config.resolve_scale(config.clients_per_round),
            targets,
            attack_knowledge.create_promotion(
                config, targets, train, dataset.split.num_items, draws
            ),
        )
    return ClientSimulation(
        draws,
        attack,
        config.failure_config,
        choose_attackers(config.attack_config, draws, config.is_private),
        _find_failure_rates(config.failure_config, np.asarray(train.lengths)),
        config.is_buffered,
    )


def choose_attackers(
    attack: AttackConfig | None, draws: keyed_draws.KeyedDraws, is_private: bool
) -> np.ndarray:
    """Chooses a fixed random part of the population.

    Args:
      attack: The attack; None for no attackers.
      draws: Keyed draws of the population.
      is_private: Whether each user attacks by a coin of their own, so that nobody else decides it;
        how many attack is then left to chance, and may be none. Otherwise it is the fraction asked
        for, and at least one user.

    Returns:
      bool [num_users].
    """
    if attack is None:
        return np.zeros(draws.num_users, np.bool_)
    if is_private:
        return draws.coins(attack.fraction, _ATTACKER)
    is_attacker = np.zeros(draws.num_users, np.bool_)
    num_attackers = max(1, round(attack.fraction * draws.num_users))
    is_attacker[draws.first(num_attackers, _ATTACKER)] = True
    return is_attacker


def _find_failure_rates(failure: FailureConfig | None, lengths: np.ndarray) -> np.ndarray:
    """How often each user's device fails: float64 [num_users], `failure.rate` in the mean.

    Skewed failures go by rank among all users, so differential privacy refuses them.
    """
    if failure is None:
        return np.zeros(len(lengths))
    if failure.name == failure_config.SKEWED_HEAVY:
        return 2.0 * failure.rate * (1.0 - _rank_activity(lengths))
    if failure.name == failure_config.SKEWED_LIGHT:
        return 2.0 * failure.rate * _rank_activity(lengths)
    return np.full(len(lengths), failure.rate)


def _rank_activity(lengths: np.ndarray) -> np.ndarray:
    """Of each user, where it is between the least and the most active: mean 1/2 over all users."""
    _, group, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return (below + 0.5 * counts)[group] / len(lengths)
