"""The contract of an aggregator, for one form of updates: dense, or row-sparse."""

# Tested in tests/checks/test_aggregator_check.py.

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import outcome as aggregator_outcome
from fedrec_tff.checks import aggregator_trial, made_up_updates
from fedrec_tff.checks.findings import FAIL, OK, SKIP, WARN, Finding
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run import event_loop
from fedrec_tff.run.metrics import round_metrics


class FormCheck:
    """Runs the checks and keeps the outcome of an ordinary round, to be compared.

    Attributes:
      has_run: Whether the ordinary round came out, in the compiled context.
      is_random: Whether it came out differently when it was run again.
      output: Result of the ordinary round.
      has_secure_sums: Whether TFF's own runtime cannot run it.
    """

    def __init__(self, config: RunConfig, *, is_row_sparse: bool) -> None:
        """Creates nothing yet.

        Args:
          config: Flags of a run with the aggregator, from `aggregator_check_config.read_config`.
          is_row_sparse: Whether clients send `RowSparse` updates.
        """
        self._config = config
        self._is_row_sparse = is_row_sparse
        self._cohort = made_up_updates.create_cohort(config, is_row_sparse=is_row_sparse)
        self._trial: aggregator_trial.Trial | None = None
        self._state: Any = None
        self.output: tff.templates.MeasuredProcessOutput | None = None
        self.has_run = False
        self.is_random = False

    @property
    def has_secure_sums(self) -> bool:
        """See the class."""
        return self._trial.has_secure_sums

    def run(self) -> Iterator[Finding]:
        """Runs the checks that need the compiled context, until nothing is left to try.

        Yields:
          What was found.
        """
        yield self._attempt("types", self._create)
        if self._trial is None:
            return
        yield self._attempt("compiled round", self._run_ordinary)
        if not self.has_run:
            return
        yield self._attempt("checkpoint", self._save_and_load)
        yield self._attempt("empty cohort", self._run_without_clients)
        yield self._attempt("one client", self._run_one_client)
        yield self._attempt("NaN client", self._run_nan_client)
        yield self._attempt("order of clients", self._run_backwards)

    def run_natively(self) -> Finding:
        """Compares the ordinary round with TFF's own runtime, which must be installed."""
        return self._attempt("native round", self._run_natively)

    def skip_natively(self) -> Finding:
        """Says that TFF's own runtime cannot run it."""
        return self._attempt("native round", lambda: (SKIP, "TFF's own runtime has no secure sums"))

    def _create(self) -> tuple[str, str]:
        self._trial = aggregator_trial.Trial(self._config, is_row_sparse=self._is_row_sparse)
        return OK, (
            "the result has the type of the model's weights, the state is of tensors and keeps its "
            "type"
        )

    def _run_ordinary(self) -> tuple[str, str]:
        trial = self._trial
        self._state = trial.initialize()
        self.output = trial.run(self._state, self._cohort)
        problem = aggregator_outcome.find_output_problem(self._state, self.output)
        if problem is not None:
            return FAIL, f"after {len(self._cohort.updates)} ordinary clients {problem}"
        self.has_run = True
        again = trial.run(self._state, self._cohort)
        self.is_random = aggregator_outcome.find_difference(self.output, again) is not None
        drawn = "; it draws random numbers" if self.is_random else ""
        unseen = round_metrics.find_unnamed_measurements(self.output.measurements)
        if not trial.is_compiled:
            reason = trial.reasons[0] if trial.reasons else "no reason was given"
            return WARN, f"runs, but client by client and slowly, not compiled: {reason}{drawn}"
        if unseen:
            return WARN, (
                f"runs compiled{drawn}, but TensorBoard shows measured scalars alone, and "
                f"{', '.join(unseen)} is none: measure its norm, or numbers of it"
            )
        return OK, f"client work is compiled, state and result are finite{drawn}"

    def _save_and_load(self) -> tuple[str, str]:
        for state in (self._state, self.output.state):
            problem = event_loop.run(aggregator_outcome.find_checkpoint_problem(state))
            if problem is not None:
                return FAIL, f"the state does not survive saving and loading: {problem}"
        return OK, "the state comes back from tff.program.FileProgramStateManager as it was"

    def _run_without_clients(self) -> tuple[str, str]:
        nobody = made_up_updates.Cohort([], [])
        for before in (self._state, self.output.state):
            after = self._trial.run(before, nobody)
            problem = aggregator_outcome.find_state_problem(before, after.state)
            if problem is not None:
                return FAIL, (
                    f"nobody took part, and {problem}, for good: keep the old state where there "
                    "are no clients (Poisson sampling draws such rounds)"
                )
        following = self._trial.run(after.state, self._cohort)
        problem = aggregator_outcome.find_output_problem(after.state, following)
        if problem is not None:
            return FAIL, f"in the round after one in which nobody took part {problem}"
        if aggregator_outcome.are_all_finite(after.result):
            return OK, "the state survives, and the result is finite"
        return OK, "the state survives; the result is not finite, so training skips the round"

    def _run_one_client(self) -> tuple[str, str]:
        updates, weights = self._cohort
        output = self._trial.run(self._state, made_up_updates.Cohort(updates[:1], weights[:1]))
        problem = aggregator_outcome.find_state_problem(self._state, output.state)
        if problem is not None:
            return FAIL, f"one client took part, and {problem}"
        if not aggregator_outcome.are_all_finite(output.result):
            return WARN, "the result of one client is not finite, so training skips such rounds"
        return OK, "state and result are finite"

    def _run_nan_client(self) -> tuple[str, str]:
        weight = self._cohort.weights[0]
        problem = self._find_problem_with(np.nan, weight)
        if problem is None:
            return OK, "survives an update of NaN by itself"
        if all(found.excludes_non_finite for found in self._config.aggregator_chain.aggregators):
            return FAIL, f"is registered as leaving out updates of NaN, and with one {problem}"
        # What the learning process makes of it.
        nothing = made_up_updates.replace_numbers(weight, 0.0)
        problem_of_process = self._find_problem_with(0.0, nothing)
        if problem_of_process is not None:
            return FAIL, (
                "the learning process replaces an update of NaN by zeros with weight zero, and "
                f"with these {problem_of_process}"
            )
        return OK, (
            "relies on the learning process, which replaces an update of NaN by zeros: left alone, "
            f"{problem}"
        )

    def _find_problem_with(self, value: float, weight: Any) -> str | None:
        """What is wrong if the first client sends nothing but this number."""
        updates, weights = self._cohort
        first = made_up_updates.replace_numbers(updates[0], value)
        cohort = made_up_updates.Cohort([first, *updates[1:]], [weight, *weights[1:]])
        return aggregator_outcome.find_output_problem(
            self._state, self._trial.run(self._state, cohort)
        )

    def _run_backwards(self) -> tuple[str, str]:
        if self.is_random:
            return SKIP, "it draws random numbers, so results cannot be compared"
        updates, weights = self._cohort
        backwards = made_up_updates.Cohort(updates[::-1], weights[::-1])
        different = aggregator_outcome.find_difference(
            self.output, self._trial.run(self._state, backwards)
        )
        if different is not None:
            return WARN, f"{different} depends on the order, which no context promises"
        return OK, "does not matter"

    def _run_natively(self) -> tuple[str, str]:
        output = self._trial.run_here(self._state, self._cohort)
        problem = aggregator_outcome.find_output_problem(self._state, output)
        if problem is not None:
            return FAIL, f"after {len(self._cohort.updates)} ordinary clients {problem}"
        if self.is_random:
            return OK, "runs; it draws random numbers, so only shapes and finiteness were checked"
        different = aggregator_outcome.find_difference(self.output, output)
        if different is not None:
            return FAIL, f"{different} is not what the compiled context gives"
        return OK, "state, result and measurements are those of the compiled round"

    def _attempt(self, name: str, run: Callable[[], tuple[str, str]]) -> Finding:
        try:
            status, text = run()
        except errors.UserError as error:
            status, text = FAIL, without_flag(error, self._config)
        # Whatever TFF, TensorFlow or a context raises at the sight of the author's code.
        except Exception as error:
            status, text = FAIL, aggregator_outcome.describe_failure(error)
        form = "row-sparse" if self._is_row_sparse else "dense"
        return Finding(status, f"{form}: {name}", text)


def without_flag(error: errors.UserError, config: RunConfig) -> str:
    """What an error says, without the name of what is checked, which may be a long path."""
    return str(error).removeprefix(f"--aggregator={config.aggregator_chain.name}: ")
