"""What users' devices do in a run beside its rounds: keep a personal part, fine-tune, score."""

# Tested in tests/whole_runs/test_personal_sessions.py.

import functools
import os

import numpy as np
import tensorflow_federated as tff

from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.execution import stacking
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.learning.on_device import local_models, personal_state
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.run import cohorts, device_store, known_popularity, run_process
from fedrec_tff.run.folder.program_state import state_manager
from fedrec_tff.run.records import Session


class Devices:
    """The devices of a run's users, simulated."""

    def __init__(self, session: Session, popular: known_popularity.Popularity | None) -> None:
        """Initialises the devices; none has anything yet.

        Args:
          session: The run.
          popular: Known popularity of the items, where the run uses it.
        """
        config = session.config
        self._session, self._store = session, None
        self._sampler = run_process.create_sampler(config, session.dataset.split.num_items, popular)
        if config.num_stored_weights:
            self._store = device_store.DeviceStore(
                session.directory.devices,
                session.dataset.interactions.num_users,
                config.num_stored_weights,
            )

    def create_state_manager(
        self, root_dir: str | os.PathLike, keep_total: int
    ) -> state_manager.StateManager:
        """Creates what saves the server's state, and what devices keep in step with it.

        Args:
          root_dir: As `state_manager.StateManager` has it.
          keep_total: Likewise.

        Returns:
          A state manager.
        """
        if self._store is None:
            return state_manager.StateManager(root_dir, keep_total)
        return device_store.StateManagerWithDevices(self._store, root_dir, keep_total)

    def resume(self, round_number: int) -> None:
        """Takes up what devices had after a round.

        Args:
          round_number: Round of the checkpoint that the run goes on from.

        Raises:
          UserError: If that cannot be read.
        """
        if self._store is not None:
            self._store.load(round_number)

    def prepare_cohort(
        self, state: tff.learning.templates.LearningAlgorithmState, cohort: cohorts.Cohort
    ) -> stacking.StackedCohort:
        """Lets the devices of a cohort get ready for a round.

        Args:
          state: State of the learning process before the round.
          cohort: The round's cohort.

        Returns:
          The cohort, with what its devices keep of the model, if they do.
        """
        if self._store is None:
            return cohort
        return self._store.refit(
            self._refit_fn,
            state.global_model_weights.trainable,
            cohort,
            self._session.dataset.split.train_user_index,
        )

    def build_score_fn(self, weights: two_tower.TwoTowerWeights) -> ScoreFn:
        """The scores of a run's model, with its personal part if there is one.

        Args:
          weights: Weights of the global part.

        Returns:
          Scores of histories; of those that say whose they are, by what that user's device has.
        """
        config = self._session.config
        if config.personal is None:
            return scoring.build_score_fn(config.two_tower, weights, *self._session.features.both)
        return self._scorer.build_score_fn(weights, self._states)

    def build_finetuned_score_fn(self, weights: two_tower.TwoTowerWeights) -> ScoreFn | None:
        """The same after each user's device has fine-tuned its copy; None if the run has none.

        Args:
          weights: Weights of the global part.

        Returns:
          Scores of histories.
        """
        config = self._session.config
        if not config.finetuning_epochs:
            return None
        finetuning = local_models.create_finetuning(
            config.client_work, config.finetuning_epochs, config.finetuning_learning_rate
        )
        return self._create_scorer(finetuning).build_score_fn(weights, self._states)

    @property
    def _states(self) -> np.ndarray | None:
        return None if self._store is None else self._store.states

    @functools.cached_property
    def _refit_fn(self) -> personal_state.RefitFn:
        config = self._session.config
        return personal_state.build_refit(
            config.two_tower, config.client_work, self._sampler, self._session.features.items
        )

    @functools.cached_property
    def _scorer(self) -> local_models.LocalModelScorer:
        return self._create_scorer(None)

    def _create_scorer(self, finetuning: ClientWorkConfig | None) -> local_models.LocalModelScorer:
        config = self._session.config
        return local_models.LocalModelScorer(
            config.two_tower,
            config.client_work,
            self._sampler,
            *self._session.features.both,
            finetuning=finetuning,
        )
