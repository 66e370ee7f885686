"""Audits the whole way of a run, by data sets that differ in one member of the population.

Three questions, each harder to pass than to answer wrongly: does one user's data change anything of
anybody else's before the sum; does one user move a sum by more than is claimed, and is the noise
there; can whole runs on the two data sets be told apart better than the claim allows?
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import accounting
from fedrec_tff.privacy.audit import (
    adjacency,
    checks,
    distinguishing,
    participation_checks,
    report,
)
from fedrec_tff.run import data, federated_run, privacy_plan, user_draws
from fedrec_tff.run import features as features_lib
from fedrec_tff.run.folder import run_directory, run_identity
from fedrec_tff.run.records import Session
from fedrec_tff.studies.audit import (
    adjacent_data,
    adjacent_runs,
    adjacent_sums,
    adjacent_worlds,
    canary_audit,
)
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit.adjacent_sums import PreparedPair
from fedrec_tff.studies.audit.config import AuditConfig

WHOLE_RUNS = "whole_runs"
KEYS = "keys of cohorts"

# Two keys are both this short with a probability of 2**-56.
_SHORT_KEY_BITS = 100
_NUM_ROUNDS_OBSERVED = 10
_NUM_ROUNDS_OF_LAW = 100

# Is told how many runs are done.
RunDoneFn = Callable[[int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class AdjacentAudit:
    """What came out.

    Attributes:
      report: Report with the verdict.
      comparisons: Comparison for each change of one member: what of anybody else's differs.
      distinction: Success at telling whole runs apart; None where none were trained.
    """

    report: report.AuditReport
    comparisons: tuple[adjacency.Comparison, ...]
    distinction: distinguishing.Distinction | None

    @property
    def num_affected(self) -> dict[str, int]:
        """By stage, how many others the worst change reached."""
        stages = self.comparisons[0].affected
        return {
            stage: max(len(one.affected[stage]) for one in self.comparisons) for stage in stages
        }


def run(
    config: RunConfig,
    audit: AuditConfig,
    noise_multiplier: float,
    run_done_fn: RunDoneFn = lambda num_runs: None,
    charge_fn: audit_config.ChargeFn = lambda: None,
) -> AdjacentAudit:
    """Compares, measures and tells apart; in the current TFF context.

    Args:
      config: Flags of the audited run.
      audit: Settings of the audit.
      noise_multiplier: Noise multiplier of the run, calibrated.
      run_done_fn: Function that is told of every run that was trained.
      charge_fn: Function that takes what the audit costs, once all is prepared, before anybody
        trains.

    Returns:
      The verdict, and the comparisons behind it.

    Raises:
      UserError: If the run cannot be built, or training diverges.
    """
    # What is written here is user data, and is gone afterwards.
    with tempfile.TemporaryDirectory(prefix="adjacent-") as folder:
        root = pathlib.Path(folder)
        identities = [run_identity.create(config) for _ in range(2)]
        prepared = prepare_pairs(config, noise_multiplier, root, identities[0])
        subject = _choose_subject(prepared)
        rounds, train_fn = min(audit.rounds_per_run, config.rounds), None
        if audit.num_runs:
            train_fn = adjacent_runs.build_train_fn(subject.first, rounds)
        charge_fn()
        comparisons = tuple(map(compare, prepared))
        found = (
            *adjacency.judge(comparisons),
            *check_keys(identities),
            *check_cohorts(adjacent_runs.give_identity(subject.first, identities[1])),
            *adjacent_sums.check_sums([one for one in prepared if one.is_about_presence]),
        )
        distinction = None
        if train_fn is not None:
            distinction = _tell_apart(subject, audit, train_fn, run_done_fn)
    audit_report = report.AuditReport(
        claimed_epsilon=adjacent_runs.claim(subject.first, rounds),
        delta=config.target_delta,
        confidence=audit.confidence,
        estimates={},
        bounds={} if distinction is None else {WHOLE_RUNS: distinction.bound},
        checks=found,
        departures=privacy_plan.find_departures(config),
    )
    return AdjacentAudit(audit_report, comparisons, distinction)


def prepare_pairs(
    config: RunConfig,
    noise_multiplier: float,
    folder: pathlib.Path,
    identity: run_identity.RunIdentity,
) -> list[PreparedPair]:
    """Writes pairs of data sets, and prepares a run on each as a session does.

    Args:
      config: Flags of the audited run.
      noise_multiplier: Noise multiplier, calibrated before.
      folder: Folder to write data to.
      identity: Identity of all runs: they draw their cohorts from one key.

    Returns:
      The pairs, with their runs.
    """
    pairs = adjacent_data.write_pairs(config, folder / "data")
    directory = run_directory.RunDirectory(folder)
    return [
        PreparedPair(
            pair,
            *(
                _prepare(world, noise_multiplier, directory, identity)
                for world in (pair.first, pair.second)
            ),
        )
        for pair in pairs
    ]


def compare(prepared: PreparedPair) -> adjacency.Comparison:
    """Compares what becomes of everybody but the changed member before anything is summed."""
    worlds = (prepared.first, prepared.second)
    observed = [adjacent_worlds.observe(world, _NUM_ROUNDS_OBSERVED) for world in worlds]
    return adjacency.compare(prepared.pair.change, *observed, prepared.pair.changed)


def check_keys(identities: Sequence[run_identity.RunIdentity]) -> Iterator[checks.Check]:
    """Whether the keys of runs differ, and are long; nothing where the seed draws cohorts."""
    keys = [identity.cohort_key for identity in identities]
    if None in keys:
        return
    passed = len(set(keys)) == len(keys) and max(keys).bit_length() > _SHORT_KEY_BITS
    detail = f"those of two runs are {'different' if passed else 'equal or short'}"
    yield checks.Check(KEYS, passed, detail)


def check_cohorts(session: Session) -> Iterator[checks.Check]:
    """Compares cohorts with their law; where devices are absent, fewer take part than are drawn."""
    config = session.config
    if config.has_absent_devices:
        return
    source = federated_run.create_source(session, federated_run.stack_clients(session))
    iterator = source.iterator()
    drawn = [iterator.select().rows for _ in range(_NUM_ROUNDS_OF_LAW)]
    law = canary_audit.create_sampling_law(config, session.dataset.split.train.num_rows)
    yield from participation_checks.check_participation(law, drawn)


def _prepare(
    config: RunConfig,
    noise_multiplier: float,
    directory: run_directory.RunDirectory,
    identity: run_identity.RunIdentity,
) -> Session:
    dataset = data.load_data(config)
    features = features_lib.create_features(config, dataset)
    draws = user_draws.UserDraws(dataset.train_user_ids, config.seed, identity.cohort_key)
    plan = privacy_plan.create_plan(
        config,
        dataset.split.train.num_rows,
        config.two_tower.num_weights(dataset.split.num_items),
        noise_multiplier,
        draws.secret,
    )
    return Session(config, directory, dataset, plan, {}, draws, identity, features)


def _choose_subject(prepared: Sequence[PreparedPair]) -> PreparedPair:
    """The pair that the claim is about: somebody is there or not, or has other data."""
    relation = prepared[0].first.plan.mechanism.neighbouring_relation
    is_about_presence = relation is accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    return next(
        one for one in prepared if one.pair.trains and one.is_about_presence == is_about_presence
    )


def _tell_apart(
    subject: PreparedPair,
    audit: AuditConfig,
    train_fn: adjacent_runs.TrainFn,
    run_done_fn: RunDoneFn,
) -> distinguishing.Distinction:
    released, num_done = ([], []), 0
    for _ in range(audit.num_runs):
        for session, runs in zip((subject.first, subject.second), released, strict=True):
            identity = run_identity.create(session.config)
            runs.append(train_fn(adjacent_runs.give_identity(session, identity)))
            num_done += 1
            run_done_fn(num_done)
    return distinguishing.distinguish(
        *map(np.stack, released), subject.first.config.target_delta, audit.confidence
    )
