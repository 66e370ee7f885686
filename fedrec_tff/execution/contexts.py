"""What the in-process contexts share: taking computations apart, and values in and out."""

# Tested in tests/execution/test_compiled_context.py.

import abc
import collections
import logging
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import (
    entropy,
    exceptions,
    forms,
    rounds,
    row_writes,
    step_by_step,
    tensors,
    values,
)

_MAX_COMPUTATIONS = 64
_logger = logging.getLogger(__name__)


class InProcessContext(tff.framework.SyncContext):
    """A TFF context that runs computations in this process.

    Use it as `with context.install(): ...`, or make it the default with
    `tff.framework.set_default_context(context)`.
    """

    def __init__(
        self, device: str, random_seed: int | None = None, updates_in_place: bool = False
    ) -> None:
        """Initialises the context.

        Args:
          device: TensorFlow's name of the device on which computations without clients run.
          random_seed: Seed of random numbers; None for secret ones. See `entropy.RandomSource`.
          updates_in_place: Whether rounds may use up the state that they are given; see
            `row_writes`.
        """
        self._device = device
        self.tables = row_writes.Tables() if updates_in_place else None
        self._random = entropy.RandomSource(random_seed)
        self._latest_times: rounds.RoundTimes | None = None
        self._computations: collections.OrderedDict[int, tuple[Any, Any]] = (
            collections.OrderedDict()
        )

    @property
    def takes_steps(self) -> bool:
        """Whether computations without a MapReduce form may run; see `step_by_step`."""
        # What steps return may be a table that a later round writes.
        return self.tables is None

    @abc.abstractmethod
    def create_round(self, form: forms.FederatedForm) -> rounds.FederatedRound:
        """Makes a form ready to run."""

    @property
    def latest_times(self) -> rounds.RoundTimes | None:
        """Where the time of the latest federated round went; None before the first."""
        return self._latest_times

    def install(self) -> Any:
        """A `with` block in which TFF's computations run here."""
        return tff.framework.get_context_stack().install(self)

    def invoke(self, comp: tff.Computation, arg: Any) -> Any:
        """Runs a computation; called by TFF.

        Args:
          comp: The computation.
          arg: Argument of the computation; None if it takes none.

        Returns:
          The result, in the containers of its type: arrays (read-only) and scalars of NumPy,
          bytes, datasets.

        Raises:
          UnsupportedComputationError: If the computation has no MapReduce form.
          ClientStructureError: If a client is not of the expected type.
          ExecutionError: If an operation fails.
          TypeError: If another argument is not of the expected type.
          UsedUpError: If the state was given to a round before that wrote into it.
        """
        form, federated_round = self._prepare(comp)
        if isinstance(form, step_by_step.StepByStep):
            with tf.device(self._device):
                return form.run(arg, self._random.start_round())
        result_type = comp.type_signature.result
        if isinstance(form, forms.LocalForm):
            results = self._run_local(form, comp.type_signature.parameter, arg)
        else:
            server_leaves, clients = form.split_argument(arg)
            server_types = values.leaf_types(form.prepare.type_signature.parameter)
            server = tensors.to_tensors(server_leaves, server_types)
            results = federated_round.run(server, clients, self._random.start_round())
            self._latest_times = federated_round.times
        arrays = tensors.to_arrays(results, values.leaf_types(result_type))
        return values.pack(arrays, result_type)

    def _prepare(self, comp: tff.Computation) -> tuple[Any, Any]:
        """The form of a computation; by identity, since comparing computations serialises them."""
        known = self._computations.get(id(comp))
        if known is None:
            form = self._extract(comp)
            is_round = isinstance(form, forms.FederatedForm)
            known = (comp, form, self.create_round(form) if is_round else None)
            if comp.type_signature.parameter is None:
                # Such as a first state, made once: its graph may hold it as constants.
                return known[1:]
            self._computations[id(comp)] = known
            while len(self._computations) > _MAX_COMPUTATIONS:
                self._computations.popitem(last=False)
        self._computations.move_to_end(id(comp))
        return known[1:]

    def _extract(self, comp: tff.Computation) -> Any:
        try:
            return forms.extract(comp)
        except exceptions.UnsupportedComputationError as error:
            steps = step_by_step.extract(comp) if self.takes_steps else None
            if steps is None:
                raise
            _logger.warning("runs step by step, client by client, not compiled: %s", error)
            return steps

    def _run_local(
        self, form: forms.LocalForm, parameter_type: tff.Type | None, argument: Any
    ) -> list[tf.Tensor]:
        leaves = [] if parameter_type is None else values.flatten(argument, parameter_type)
        inputs = tensors.to_tensors(leaves, values.leaf_types(parameter_type))
        with tf.device(self._device):
            results = rounds.run_stage(
                "the computation", form.function, inputs, self._random.start_round()
            )
        if self.tables is None:
            return results
        return self.tables.protect(results) if inputs else self.tables.adopt(results)
