"""Aggregators and samplers with a fault planted, and the small run that they are audited in."""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import dp_fedavg, registry
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import queries, sparse_queries
from fedrec_tff.privacy.mechanisms import sparse
from fedrec_tff.studies.audit import config as audit_config

CONFIG = RunConfig(
    synthetic_users=100,
    synthetic_items=160,
    max_interactions_per_user=12,
    embedding_dim=8,
    num_blocks=0,
    num_negatives=16,
    batch_size=0,
    clients_per_round=30.0,
    rounds=12,
    # Nothing is worth compiling for a few rounds of a few clients.
    execution="debug",
    target_epsilon=8.0,
)
AUDIT = audit_config.AuditConfig(num_canaries=200)


def build_mean_over(query, context):
    mean_query = tfp.NormalizedQuery(query, denominator=context.clients_per_round)
    return tff.aggregators.DifferentiallyPrivateFactory(mean_query)


def with_noise_times(factor, name="dp_gaussian"):
    """A builder that adds less noise than it is told to."""

    def build(context):
        mechanism = context.mechanism
        weak = dataclasses.replace(mechanism, noise_multiplier=factor * mechanism.noise_multiplier)
        sound = registry.get(name)
        return sound.build_factory(dataclasses.replace(context, mechanism=weak))

    return build


class ClippedInParts(queries.GaussianSumQuery):
    """Clips each of ten parts that an update is the sum of, as if each came from a batch."""

    def preprocess_record(self, params, record):
        part = tf.nest.map_structure(lambda t: 0.1 * t, record)
        clipped = super().preprocess_record(params, part)
        return tf.nest.map_structure(lambda t: 10 * t, clipped)


def build_clipped_in_parts(context):
    mechanism = context.mechanism
    return build_mean_over(ClippedInParts(mechanism.clip_norm, mechanism.noise_stddev), context)


class ExactChoice(sparse_queries.SparseGaussianSumQuery):
    """Leaves out the rows that nobody touched."""

    def _choose(self, counts, global_state):
        chosen, history = super()._choose(counts, global_state)
        return tf.boolean_mask(chosen, tf.gather(counts, chosen) > 0), history


def build_exact_choice(context):
    mechanism = context.mechanism
    histogram = sparse_queries.Histogram(
        num_rows=context.num_items,
        noise_multiplier=sparse.split_noise(mechanism)[0],
        rows_per_user=mechanism.rows_per_user,
        threshold=mechanism.row_threshold,
        remembers=False,
    )
    return build_mean_over(ExactChoice(dp_fedavg.create_clip_query(context), histogram), context)


class TheSameNoise(queries.GaussianSumQuery):
    """Draws the noise of every release from one seed."""

    def get_noised_result(self, sample_state, global_state):
        result, _, event = super().get_noised_result(sample_state, global_state)
        return result, global_state, event


def build_the_same_noise(context):
    mechanism = context.mechanism
    query = TheSameNoise(mechanism.clip_norm, mechanism.noise_stddev, insecure_seed=7)
    return build_mean_over(query, context)


class TenTimesAsMany:
    """A sampler that adds nine more cohorts to each."""

    def __init__(self, inner):
        self._inner = inner

    def sample(self, round_number):
        rounds = range(10 * round_number, 10 * round_number + 10)
        return np.unique(np.concatenate([self._inner.sample(t) for t in rounds]))
