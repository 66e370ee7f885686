from fedrec_tff.run.metrics import round_metrics
from fedrec_tff.run.tracking import cards

# A round of a private run that releases what is not covered, and the end of one.
NAMES = (
    *("time/round_seconds", "train/loss", "privacy/clip_norm", "validation/recall@10"),
    *("communication/upload_megabytes", "aggregator/zeroed", "test/ndcg@10", "private/recall@10"),
    *("non_private/communication/upload_megabytes", "non_private/validation/mrr"),
    *("personalized/test/recall@10", "non_private/train/num_clients", "something/new"),
)


def test_quality_comes_first_and_what_is_measured_once_last():
    found = [tag.partition(" ")[2] for tag in sorted(map(cards.name_card, NAMES))]
    assert found == [
        *("non_private/validation/mrr", "private/recall@10", "validation/recall@10"),
        "privacy/clip_norm",
        *("aggregator/zeroed", "non_private/train/num_clients", "train/loss"),
        *("communication/upload_megabytes", "non_private/communication/upload_megabytes"),
        "time/round_seconds",
        *("personalized/test/recall@10", "test/ndcg@10"),
        "something/new",
    ]


def test_a_card_says_what_it_shows_and_what_epsilon_does_not_cover():
    assert cards.describe("validation/recall@20") == (
        "Share of a user's held-out items among the best 20 of the whole catalogue, of held-out "
        "validation interactions."
    )
    assert "epsilon does not cover it" in cards.describe("non_private/validation/mrr")
    assert "epsilon does not cover it" not in cards.describe("private/mrr")
    assert "with noise that epsilon covers" in cards.describe("private/mrr")
    assert "of 100 candidates" not in cards.describe("validation/hit_rate@10")
    assert "among 100 candidates" in cards.describe("validation/sampled_99/hit_rate@10")
    assert cards.describe("something/new") == ""


def test_every_metric_of_a_round_has_a_description():
    class Sums:
        num_clients, num_examples, num_rejected_clients, upload_bytes, loss_sum = 2, 3, 0, 8, 1.5

    names = round_metrics.create_cohort_metrics(Sums(), {}, 1.0)
    names |= round_metrics.create_learning_rate_metrics({"client": [0.1]}, 1)
    for name in (*names, "train/update_rejected", "time/evaluation_seconds", "privacy/clip_norm"):
        assert cards.describe(name), name


def test_quality_and_the_loss_are_drawn_from_the_first_round_on():
    drawn = [name for name in NAMES if not cards.may_be_constant(name)]
    assert drawn == [
        *("train/loss", "validation/recall@10", "private/recall@10", "non_private/validation/mrr")
    ]
