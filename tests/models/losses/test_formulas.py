import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from fedrec_tff.models.losses import formulas


def _float(values):
    return tf.constant(values, tf.float32)


def _numpy_sampled_softmax(positive, negative, positive_index, negative_index, log_q_p, log_q_n):
    result = []
    for i in range(len(positive)):
        kept = [
            negative[i, j] - log_q_n[j]
            for j in range(len(negative_index))
            if negative_index[j] != positive_index[i]
        ]
        own = positive[i] - log_q_p[i]
        result.append(special.logsumexp([own, *kept]) - own)
    return np.array(result)


def _numpy_in_batch_softmax(logits, positive_index, mask, log_q):
    result = []
    for i in range(len(positive_index)):
        candidates = [logits[i, i] - log_q[i]]
        candidates += [
            logits[i, j] - log_q[j]
            for j in range(len(positive_index))
            if j != i and mask[j] and positive_index[j] != positive_index[i]
        ]
        result.append(special.logsumexp(candidates) - candidates[0])
    return np.array(result)


def _random_sampled_case(seed=0):
    """Five examples, seven negatives, a catalogue of six: hits and repeated negatives for sure."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(6))
    positive_index = rng.integers(6, size=5).astype(np.int32)
    negative_index = rng.integers(6, size=7).astype(np.int32)
    return (
        rng.normal(size=5),
        rng.normal(size=(5, 7)),
        positive_index,
        negative_index,
        np.log(probabilities)[positive_index],
        np.log(probabilities)[negative_index],
    )


def _as_tensors(case):
    return [tf.constant(x, tf.int32 if x.dtype == np.int32 else tf.float32) for x in case]


def test_sampled_softmax_by_hand():
    # Logits after correction: positive ln 2, negatives ln 3 and ln 5.
    loss = formulas.sampled_softmax(
        _float([0.0]),
        _float([[0.0, 0.0]]),
        tf.constant([7]),
        tf.constant([8, 9]),
        _float([np.log(1 / 2)]),
        _float([np.log(1 / 3), np.log(1 / 5)]),
    )
    np.testing.assert_allclose(loss, [np.log(10 / 2)], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_sampled_softmax_equals_numpy(seed):
    case = _random_sampled_case(seed)
    assert (case[2][:, np.newaxis] == case[3]).any()
    np.testing.assert_allclose(
        formulas.sampled_softmax(*_as_tensors(case)), _numpy_sampled_softmax(*case), rtol=1e-5
    )


def test_sampled_softmax_and_its_gradient_equal_tensorflows_own():
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet(np.ones(6))
    embedding, bias = rng.normal(size=(6, 3)), rng.normal(size=6)
    positive_index, negative_index = np.array([0, 1, 1, 5]), np.array([1, 2, 2, 4, 0])
    query = _float(rng.normal(size=(4, 3)))

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(query)
        stock = tf.nn.sampled_softmax_loss(
            weights=_float(embedding),
            biases=_float(bias),
            labels=tf.constant(positive_index[:, np.newaxis], tf.int64),
            inputs=query,
            num_sampled=5,
            num_classes=6,
            sampled_values=(
                tf.constant(negative_index, tf.int64),
                _float(probabilities[positive_index][:, np.newaxis]),
                _float(probabilities[negative_index]),
            ),
            remove_accidental_hits=True,
        )
        ours = formulas.sampled_softmax(
            tf.reduce_sum(query * _float(embedding[positive_index]), axis=1)
            + _float(bias[positive_index]),
            tf.matmul(query, _float(embedding[negative_index]), transpose_b=True)
            + _float(bias[negative_index]),
            tf.constant(positive_index, tf.int32),
            tf.constant(negative_index, tf.int32),
            _float(np.log(probabilities[positive_index])),
            _float(np.log(probabilities[negative_index])),
        )
    np.testing.assert_allclose(ours, stock, rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(ours, query), tape.gradient(stock, query), rtol=1e-4, atol=1e-6
    )


def test_log_q_correction_undoes_the_sampler():
    """Whatever the sampler, the negatives' weight is n times the rest of the softmax's sum.

    exp(loss) - 1 is the negatives' sum of exp(logit) / q over the positive's; its expectation is
    n * sum over the other items of exp(logit), independent of q.
    """
    rng = np.random.default_rng(0)
    num_items, num_negatives, positive = 20, 200_000, 3
    logits = rng.normal(size=num_items)
    rest = np.exp(np.delete(logits, positive)).sum()
    skewed = np.arange(1.0, num_items + 1) ** 2
    for probabilities in (np.ones(num_items) / num_items, skewed / skewed.sum()):
        negative_index = rng.choice(num_items, num_negatives, p=probabilities)
        loss = formulas.sampled_softmax(
            _float([logits[positive]]),
            _float(logits[negative_index][np.newaxis]),
            tf.constant([positive]),
            tf.constant(negative_index, tf.int32),
            _float([np.log(probabilities[positive])]),
            _float(np.log(probabilities[negative_index])),
        )
        weight = (np.exp(float(loss[0])) - 1.0) * np.exp(logits[positive])
        estimate = weight / probabilities[positive] / num_negatives
        # The estimate's relative deviation is below 1 % for both samplers.
        np.testing.assert_allclose(estimate, rest, rtol=0.05)


def test_uniform_log_q_cancels():
    positive, negative, positive_index, negative_index, _, _ = _random_sampled_case()

    def sampled(log_q):
        return formulas.sampled_softmax(
            _float(positive),
            _float(negative),
            tf.constant(positive_index),
            tf.constant(negative_index),
            tf.fill([5], log_q),
            tf.fill([7], log_q),
        )

    def in_batch(log_q):
        return formulas.in_batch_softmax(
            _float(negative[:, :5]), tf.constant(positive_index), tf.ones(5), tf.fill([5], log_q)
        )

    for loss in (sampled, in_batch):
        np.testing.assert_allclose(loss(-8.0), loss(0.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_in_batch_softmax_equals_numpy(seed):
    rng = np.random.default_rng(seed)
    logits, log_q = rng.normal(size=(6, 6)), rng.normal(size=6)
    positive_index = np.array([3, 1, 3, 2, 1, 0], np.int32)
    mask = np.array([1, 1, 1, 1, 0, 0], np.float32)
    loss = formulas.in_batch_softmax(
        _float(logits), tf.constant(positive_index), tf.constant(mask), _float(log_q)
    )
    expected = _numpy_in_batch_softmax(logits, positive_index, mask, log_q)
    np.testing.assert_allclose(loss[:4], expected[:4], rtol=1e-5)
    # What padding itself gets is masked by the caller; it must be finite for that.
    assert np.isfinite(loss).all()


def test_padding_is_nobodys_negative():
    logits = np.array([[0.0, 1.0, 9.0], [2.0, 0.5, 9.0], [9.0, 9.0, 9.0]], np.float32)
    index = tf.constant([4, 5, 6])
    with_padding = formulas.in_batch_softmax(
        _float(logits), index, _float([1, 1, 0]), _float([0.1, 0.2, 9.0])
    )
    without = formulas.in_batch_softmax(
        _float(logits[:2, :2]), index[:2], _float([1, 1]), _float([0.1, 0.2])
    )
    np.testing.assert_allclose(with_padding[:2], without, rtol=1e-6)


def test_in_batch_gradient_does_not_reach_padding():
    logits = tf.constant(np.random.default_rng(0).normal(size=(3, 3)), tf.float32)
    mask = _float([1, 1, 0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(
            mask * formulas.in_batch_softmax(logits, tf.constant([1, 2, 0]), mask, tf.zeros(3))
        )
    gradient = tape.gradient(loss, logits).numpy()
    assert np.abs(gradient[:2, :2]).min() > 0.0
    np.testing.assert_array_equal(gradient[2], 0.0)
    np.testing.assert_array_equal(gradient[:, 2], 0.0)


def test_accidental_hit_gets_no_gradient():
    negative = tf.zeros([1, 3])
    with tf.GradientTape() as tape:
        tape.watch(negative)
        loss = formulas.sampled_softmax(
            tf.zeros([1]),
            negative,
            tf.constant([4]),
            tf.constant([4, 5, 4]),
            tf.zeros(1),
            tf.zeros(3),
        )
    np.testing.assert_allclose(loss, [np.log(2.0)], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, negative), [[0.0, 0.5, 0.0]], rtol=1e-6)


def test_a_user_with_one_example():
    positive, negative, single = tf.zeros([1]), tf.zeros([1, 4]), tf.zeros([1, 1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([positive, negative, single])
        sampled = formulas.sampled_softmax(
            positive, negative, tf.constant([9]), tf.range(4), tf.zeros(1), tf.zeros(4)
        )
        in_batch = formulas.in_batch_softmax(single, tf.constant([9]), tf.ones(1), tf.zeros(1))
    np.testing.assert_allclose(sampled, [np.log(5.0)], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(sampled, positive), [-0.8], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(sampled, negative), [[0.2] * 4], rtol=1e-6)
    np.testing.assert_allclose(in_batch, [0.0], atol=1e-7)
    np.testing.assert_allclose(tape.gradient(in_batch, single), [[0.0]], atol=1e-7)


def test_every_negative_an_accidental_hit_is_a_loss_of_zero():
    loss = formulas.sampled_softmax(
        _float([1.0]),
        _float([[1.0, 1.0]]),
        tf.constant([2]),
        tf.constant([2, 2]),
        tf.zeros(1),
        tf.zeros(2),
    )
    np.testing.assert_allclose(loss, [0.0], atol=1e-6)


@pytest.mark.parametrize("scale", [-1e4, 1e4, 1e7])
def test_extreme_logits_stay_finite(scale):
    logits = tf.constant(scale * np.array([[1.0, -1.0], [-1.0, 1.0]]), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        in_batch = formulas.in_batch_softmax(logits, tf.constant([0, 1]), tf.ones(2), tf.zeros(2))
        sampled = formulas.sampled_softmax(
            logits[:, 0], logits, tf.constant([5, 1]), tf.constant([0, 1]), tf.zeros(2), tf.zeros(2)
        )
    np.testing.assert_allclose(in_batch, [max(0.0, -2.0 * scale)] * 2, rtol=1e-6)
    assert np.isfinite(sampled).all()
    for loss in (in_batch, sampled):
        assert np.isfinite(tape.gradient(loss, logits)).all()


def _numpy_smoothed(positive, negative, positive_index, negative_index, log_q_p, log_q_n):
    """Cross-entropy with the smoothed label, written out."""
    result = []
    for i in range(len(positive)):
        logits = [positive[i] - log_q_p[i]]
        logits += [
            negative[i, j] - log_q_n[j]
            for j in range(len(negative_index))
            if negative_index[j] != positive_index[i]
        ]
        label = np.full(len(logits), 0.3 / len(logits))
        label[0] += 0.7
        result.append(-np.sum(label * special.log_softmax(logits)))
    return np.array(result)


def test_smoothed_labels_are_spread_over_candidates():
    case = _random_sampled_case()
    found = formulas.sampled_softmax(*_as_tensors(case), label_smoothing=0.3)
    np.testing.assert_allclose(found, _numpy_smoothed(*case), rtol=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_full_softmax_is_kerass(label_smoothing):
    rng = np.random.default_rng(0)
    logits, index = _float(rng.normal(size=(4, 9))), tf.constant([0, 8, 3, 3])
    keras = tf.keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing, reduction="none"
    )
    expected = keras(tf.one_hot(index, 9), logits)
    np.testing.assert_allclose(
        formulas.full_softmax(logits, index, label_smoothing), expected, rtol=1e-5
    )


def test_plain_binary_cross_entropy_is_kerass():
    positive, negative, positive_index, negative_index, *_ = _as_tensors(_random_sampled_case())
    found = formulas.binary_cross_entropy(
        positive, negative, positive_index, negative_index, num_items=6, calibration=0.0
    )
    for i in range(5):
        kept = [j for j in range(7) if negative_index[j] != positive_index[i]]
        logits = tf.concat([positive[i : i + 1], tf.gather(negative[i], kept)], 0)
        labels = tf.constant([1.0] + [0.0] * len(kept))
        expected = tf.keras.losses.binary_crossentropy(labels, logits, from_logits=True)
        np.testing.assert_allclose(found[i], expected, rtol=1e-5)


def test_calibrated_binary_cross_entropy_finds_the_softmaxs_probabilities():
    """Proposition of gSASRec: with t = 1 the optimal sigmoid is the item's own probability."""
    probabilities = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    num_items, num_negatives = 5, 2
    logits = tf.Variable(np.log(probabilities / (1 - probabilities)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        total = 0.0
        # All draws, each as likely as any other; repeated and own items too are what a draw gives.
        for own in range(num_items):
            others = [i for i in range(num_items) if i != own]
            for first in others:
                for second in others:
                    index = tf.constant([first, second])
                    loss = formulas.binary_cross_entropy(
                        logits[own : own + 1],
                        tf.gather(logits, index)[tf.newaxis],
                        tf.constant([own]),
                        index,
                        num_items,
                        calibration=1.0,
                    )
                    total += probabilities[own] * loss[0] / 16 * (num_negatives + 1)
    np.testing.assert_allclose(tape.gradient(total, logits), np.zeros(5), atol=1e-6)


def test_losses_of_one_example_have_a_gradient():
    rng = np.random.default_rng(0)
    query = tf.Variable(rng.normal(size=(1, 3)), dtype=tf.float32)
    items = tf.Variable(rng.normal(scale=0.1, size=(4, 3)), dtype=tf.float32)
    positive_index, negative_index = tf.constant([0]), tf.constant([1, 2])
    with tf.GradientTape(persistent=True) as tape:
        logits = tf.matmul(query, items, transpose_b=True)
        pair = (logits[:, 0], tf.gather(logits, negative_index, axis=1))
        pair += (positive_index, negative_index)
        rows = (items[:1], tf.gather(items, negative_index), positive_index, negative_index)
        rows = (*pair[:2], *rows)
        found = {
            "full": formulas.full_softmax(logits, positive_index),
            "bce": formulas.binary_cross_entropy(*pair, 4, 0.5),
            "bpr": formulas.bayesian_personalized_ranking(*pair),
            "hinge": formulas.hinge_with_spreadout(*rows, 1.0, 0.5),
        }
    for name, loss in found.items():
        gradient = tape.gradient(loss, query)
        assert np.isfinite(gradient).all(), name
        assert np.abs(gradient).max() > 1e-3, name


def test_negatives_that_are_all_the_positive_do_no_harm():
    one = tf.constant([3])
    logits, hit = _float([0.5]), _float([[0.5, 0.5]])
    negatives = tf.constant([3, 3])
    assert formulas.bayesian_personalized_ranking(logits, hit, one, negatives) == 0.0
    embedding = tf.zeros([1, 2])
    hinge = formulas.hinge_with_spreadout(
        logits, hit, embedding, tf.zeros([2, 2]), one, negatives, 1.0, 1.0
    )
    assert hinge == 0.0
