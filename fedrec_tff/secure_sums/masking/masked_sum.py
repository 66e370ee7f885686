"""Secure sums by masks that cancel: the protocol, run by all parties in this process.

The protocol is that of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving
Machine Learning" (CCS 2017), with two masks for each client; in large cohorts each client masks
with some others only, as in Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead" (CCS 2020). `client` and `server` are the two sides; here they are brought together.

What it promises, of clients and a server on machines of their own: a server that keeps to the
protocol learns the sums over all clients that stayed, and nothing else of their integers. If some
clients tell it all that they know, it learns the sums over the others, as long as those are fewer
than the threshold (in a sparse graph, than `rules.Rules.corrupt_fraction`). If too few clients stay
there is no sum at all. A sum may still say much about one of its clients: against that there is
differential privacy.

What a simulation does not give: one process plays all parties and holds all their integers, before
they are masked, so that nobody is protected from whoever runs it. What runs is the real protocol
with real keys, and its costs are real, but for the network. Clients here are honest and never leave
but for `simulated_dropout`. Nothing makes a client's input a sensible one: sums of masked integers
cannot be screened.

What a server could do that does not keep to the protocol: hand out keys of its own for everybody
but its victim (`signed_keys` takes that away, if the identity keys come from somebody else than the
server), invite a cohort of its own puppets around one client (nothing here does), draw the graph of
neighbours so that a victim's neighbours are its puppets (the complete graph takes that away; Bell
et al. have the clients draw it), send clients models that make the sum tell of one of them, or
return a wrong sum (nothing here does). `docs/secure_sums.md` goes through all of it.
"""

# Tested in tests/secure_sums/masking/test_masking_sum.py.

import os
from collections.abc import Sequence

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.empty_round import EmptyRound
from fedrec_tff.secure_sums.masking import costs, failures, identity, messages, neighbours, rules
from fedrec_tff.secure_sums.masking.client import Client
from fedrec_tff.secure_sums.masking.masked_round import MaskedRound
from fedrec_tff.secure_sums.masking.server import Server


class MaskedSum:
    """Sums integers under pairwise masks: a `secure_sum.SecureSum`.

    All keys come from the operating system; nothing makes them predictable.

    Attributes:
      costs: Costs of the latest round that was finished; None before, and where there was nothing
        to sum.
    """

    def __init__(
        self,
        min_clients: int = rules.DEFAULT_MIN_CLIENTS,
        threshold_fraction: float = rules.DEFAULT_THRESHOLD_FRACTION,
        num_neighbours: int | None = None,
        simulated_dropout: float = 0.0,
        signed_keys: bool = False,
        num_threads: int | None = None,
    ) -> None:
        """Initialises the sum.

        Args:
          min_clients: Smallest number of clients of which a sum is released. A round of fewer, but
            not of none, is an error: the sum of one client is what that client sent.
          threshold_fraction: Fraction of the parties, more than which must stay to the end; see
            `rules.Rules`.
          num_neighbours: Number of others that each client masks with; see `rules.Rules`.
          simulated_dropout: Largest fraction of all parties that are simulated ones: without data,
            they join each round, share their secrets and leave, so that their masks have to be
            taken away. It is below `1 - threshold_fraction`, so that the clients still suffice.
          signed_keys: Whether clients sign their keys, and who stayed, under keys that all know. In
            a simulation it shows what that costs.
          num_threads: Number of threads for clients' work; by default one for each core that this
            process may use.

        Raises:
          ValueError: If an argument is out of range.
        """
        if not 0.0 <= simulated_dropout < 1.0 - threshold_fraction - neighbours.ROUNDING:
            raise ValueError(
                "simulated_dropout must be at least 0 and below 1 - threshold_fraction, not "
                f"{simulated_dropout}"
            )
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, not {num_threads}")
        self._rules = rules.Rules(
            threshold_fraction,
            min_clients,
            num_neighbours,
            dropout_fraction=max(simulated_dropout, rules.Rules.dropout_fraction),
        )
        self._simulated_dropout = simulated_dropout
        self._signed_keys = signed_keys
        self._num_threads = num_threads or len(os.sched_getaffinity(0))
        self.costs: costs.RoundCosts | None = None

    def start(
        self, slots: Sequence[secure_sum.SecureSumSlot], num_clients: int
    ) -> secure_sum.SecureSumRound:
        """Begins a round: clients exchange keys and shares.

        Args:
          slots: Descriptions of the tensors to sum.
          num_clients: Size of the cohort.

        Returns:
          The round.

        Raises:
          MaskingError: If there are too few clients, or sums may be larger than masks.
        """
        self.costs = None
        if not slots or not num_clients:
            return EmptyRound(slots)
        if num_clients < self._rules.min_clients:
            raise failures.TooFewClientsError(
                f"a masked sum of {num_clients} clients: at least {self._rules.min_clients} are "
                "needed (min_clients); choose a larger cohort"
            )
        num_phantoms = self._rules.num_phantoms(num_clients, self._simulated_dropout)
        num_parties = num_clients + num_phantoms
        identities = identity.create_identities(num_parties) if self._signed_keys else None

        def create_client(invitation: messages.Invitation) -> Client:
            own = identities[invitation.index] if identities else None
            return Client(slots, self._rules, invitation, own)

        started = MaskedRound(
            server=Server(slots, self._rules, num_parties),
            create_client=create_client,
            num_clients=num_clients,
            signs=self._signed_keys,
            num_threads=self._num_threads,
            report_costs=self._report_costs,
        )
        started.exchange_keys()
        return started

    def _report_costs(self, found: costs.RoundCosts) -> None:
        self.costs = found
