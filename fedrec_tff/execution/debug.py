"""The debug context: every stage by itself, one client at a time, nothing compiled."""

# Tested in tests/execution/test_learning_parity.py.

from fedrec_tff.execution import client_calls, contexts, forms, rounds
from fedrec_tff.execution.secure_sum import SecureSum

_DEVICE = "CPU:0"


class DebugContext(contexts.InProcessContext):
    """Runs what `CompiledContext` runs, slowly, and says where it fails.

    An error names the stage (prepare, work, accumulate, merge, report, update), the client's
    position in the cohort and the operation. Operations that check their input do so here; under
    XLA they don't: an index that is out of range is an error here, and is clamped there.
    """

    def __init__(
        self,
        random_seed: int | None = None,
        secure_sum: SecureSum | None = None,
        has_protective_client_noise: bool = False,
    ) -> None:
        """Initialises the context.

        Args:
          random_seed: Seed of random numbers; None for secret ones. See `entropy.RandomSource`.
          secure_sum: Protocol that does secure sums; None for sums in the clear.
          has_protective_client_noise: Whether clients draw noise that must protect them; see
            `compiled.CompiledOptions`.
        """
        super().__init__(_DEVICE, random_seed)
        self._secure_sum = secure_sum
        self._has_protective_client_noise = has_protective_client_noise

    @property
    def takes_steps(self) -> bool:
        """Whether computations without a MapReduce form may run: not if noise must protect."""
        return super().takes_steps and not self._has_protective_client_noise

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        if self._has_protective_client_noise:
            client_calls.check_client_noise(form)
        return rounds.ClientByClientRound(form, _DEVICE, self._secure_sum, num_parallel_shards=1)
