"""Federated SGD: a local step takes all of a client's examples.

McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data"
(arXiv 1602.05629), section 2: the batch is endless, and with one epoch and a client learning rate
of one the update is the gradient, g_k = grad F_k(w). With E epochs it is E steps of gradient
descent.

Towers that encode a whole sequence in one pass are trained so, whatever the size of a batch.
"""

# Tested in tests/learning/test_process.py and tests/learning/test_client_towers.py.

from fedrec_tff.learning.algorithms import steps
from fedrec_tff.learning.algorithms.algorithm import Algorithm, Variation
from fedrec_tff.learning.config import ClientWorkConfig


class FedSgd(Variation):
    """See the module."""

    def __init__(self, inner: Algorithm, work: ClientWorkConfig) -> None:
        """Initialises the algorithm.

        Args:
          inner: Algorithm that is varied.
          work: Settings of client work, with E and the most steps in a round.
        """
        super().__init__(inner)
        self._local_epochs, self._max_steps = work.local_epochs, work.max_local_steps

    def plan_steps(self, examples: steps.ClientExamples) -> steps.StepPlan:
        """E steps of everything."""
        return steps.divide(examples, None, self._local_epochs, self._max_steps)
