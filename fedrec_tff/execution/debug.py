"""The debug context: every stage by itself, one client at a time, nothing compiled."""

from fedrec_tff.execution import contexts, forms, rounds
from fedrec_tff.execution.secure_sum import SecureSum

_DEVICE = "CPU:0"


class DebugContext(contexts.InProcessContext):
    """Runs what `CompiledContext` runs, slowly, and says where it fails.

    An error names the stage (prepare, work, accumulate, merge, report, update), the client's
    position in the cohort and the operation. Operations that check their input do so here; under
    XLA they don't: an index that is out of range is an error here, and is clamped there.
    """

    def __init__(self, random_seed: int | None = None, secure_sum: SecureSum | None = None) -> None:
        """Initialises the context.

        Args:
          random_seed: See `entropy.RandomSource`.
          secure_sum: Does secure sums; None for sums in the clear.
        """
        super().__init__(_DEVICE, random_seed)
        self._secure_sum = secure_sum

    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""
        return rounds.ClientByClientRound(form, _DEVICE, self._secure_sum, num_parallel_shards=1)
