"""Where TensorBoard shows a metric, and what it says about it.

TensorBoard sorts cards by their names alone. So that quality comes before the bytes of a round, the
name of a card is the metric's name behind a number, by topic.
"""

import re

from fedrec_tff.privacy import departures
from fedrec_tff.run.metrics import metric_names, simulated_time

QUALITY, PRIVACY, TRAINING, COMMUNICATION, TIME, END, DEVICES, OTHER = range(1, 9)

# By the beginnings of names, without the mark of what no noise covers.
_TOPICS = {
    QUALITY: (metric_names.VALIDATION, metric_names.PRIVATE),
    PRIVACY: ("privacy/", "audit/"),
    TRAINING: ("train/", "aggregator/"),
    COMMUNICATION: ("communication/",),
    TIME: ("time/",),
    END: (metric_names.TEST, metric_names.PERSONALIZED, "robustness/"),
    DEVICES: (simulated_time.FOLDER,),
}
EPSILON_NAMES = tuple(f"privacy/{name}" for name in departures.EPSILON_NAMES.values())

# What a metric is, by the end of its name; the first that matches is taken.
_DESCRIPTIONS = (
    (
        r"sampled_99/([\w@]+)$",
        "{} among 100 candidates, of which 99 are drawn at random. Only to be compared with "
        "publications that rank so.",
    ),
    (r"recall@(\d+)$", "Share of a user's held-out items among the best {} of the whole catalogue"),
    (
        r"ndcg@(\d+)$",
        "Normalised discounted cumulative gain of the best {} of the whole catalogue: held-out "
        "items count for more the higher they stand",
    ),
    (r"hit_rate@(\d+)$", "Share of users with a held-out item among the best {}"),
    (
        r"map@(\d+)$",
        "Mean average precision of the best {}: precision at each held-out item, averaged",
    ),
    (r"mrr$", "Mean of one over the rank of a user's first held-out item"),
    (
        r"privacy/(\w*)epsilon$",
        "Epsilon spent so far, for each user; larger is less private, and infinite is no promise",
    ),
    (r"privacy/clip_norm$", "Norm to which a client's update is clipped, which adapts"),
    (r"privacy/chosen_rows$", "Rows of the item table that the round updates"),
    (r"train/loss$", "Mean loss of the round's clients over their training examples"),
    (r"train/num_clients$", "Clients that took part in the round"),
    (r"train/num_examples$", "Training examples of the round's clients"),
    (r"train/num_rejected_clients$", "Clients whose update was not finite, and was left out"),
    (r"train/update_rejected$", "1 where the server refused the whole update: it was not finite"),
    (r"train/learning_rate/(\w+)$", "Learning rate of the {} in this round"),
    (r"upload_megabytes$", "Megabytes that the round's clients sent to the server, all together"),
    (
        r"upload_entropy_coded_megabytes$",
        "Megabytes of the same messages, if they were coded by the entropy of their values",
    ),
    (r"secure_sum_download_megabytes$", "Megabytes of the secure sum's protocol to all clients"),
    (r"download_megabytes$", "Megabytes of the model, sent to the whole expected cohort"),
    (
        r"download_entropy_coded_megabytes$",
        "Megabytes of the model to the whole expected cohort, coded by the entropy of its bytes",
    ),
    (r"time/seconds$", "Seconds that fitting took"),
    (r"time/round_seconds$", "Seconds of the round, without its evaluation"),
    (r"time/evaluation_seconds$", "Seconds of the evaluation"),
    (
        r"time/users_per_second_of_worker/(\d+)$",
        "Clients of the round that worker {} of the cluster worked on, by the seconds that it took",
    ),
    (r"time/users_per_second$", "Clients of the round by the seconds that it took"),
    (r"time/examples_per_second$", "Training examples of the round by the seconds that it took"),
    (
        r"audit/epsilon_lower_bound$",
        "Epsilon that the attack has proved to be spent; above the claim, the run does not keep it",
    ),
    (
        r"audit/\w*epsilon_claimed$",
        "Epsilon that the accountant claims for the audited run, at its end",
    ),
    (r"audit/epsilon_estimate$", "Epsilon that normal distributions suggest, which proves nothing"),
    (
        r"audit/membership/(\w+)/auc$",
        "How well the attack {} tells members from others: 0.5 is guessing, 1 is certainty",
    ),
    (
        r"audit/membership/(\w+)/advantage$",
        "The most by which true positives of the attack {} exceed false ones: 0 is guessing",
    ),
    (
        r"audit/affected/(\w+)$",
        "Other users than the changed one for whom the stage {} came out differently; 0 is sound",
    ),
    (r"audit/", "What an attack found; see docs/audits.md"),
    (r"robustness/", "A measure of a cell of a robustness study; see docs/aggregators.md"),
    (r"devices/hours$", "Hours on the clock of simulated devices at the end of the round"),
    (r"devices/num_reported$", "Devices whose update the round has"),
    (r"devices/num_away$", "Devices that were asked, and could not be reached at that hour"),
    (r"devices/num_dropped$", "Devices that were gone before they reported"),
    (r"devices/num_late$", "Devices that reported when nobody waited any more"),
    (r"devices/model_age$", "Mean age in rounds of the models that the round's clients trained"),
    (r"aggregator/", "A number that the aggregator measured over the round's cohort"),
)
_OF_WHAT = {
    metric_names.VALIDATION: "of held-out validation interactions",
    metric_names.TEST: "of held-out test interactions",
    metric_names.PRIVATE: "of validation, with noise that epsilon covers",
    f"{metric_names.PERSONALIZED}{metric_names.VALIDATION}": (
        "of validation, after fine-tuning on devices"
    ),
    f"{metric_names.PERSONALIZED}{metric_names.TEST}": "of test, after fine-tuning on devices",
}
_MARKED = "It is exact, and **epsilon does not cover it**."


def name_card(metric: str) -> str:
    """The tag of a metric in TensorBoard: its name behind the number of its topic.

    Args:
      metric: Name of the metric, marked or not.

    Returns:
      The tag; what follows its first space is the metric's name.
    """
    return f"{find_topic(metric)} {metric}"


def name_card_on_clock(metric: str) -> str:
    """The tag of a metric over simulated seconds, apart from that over rounds."""
    return f"{DEVICES} by_simulated_seconds/{metric}"


def describe_on_clock(metric: str) -> str:
    """What that card shows, in a sentence or two of Markdown."""
    return f"{describe(metric)} The step is a second of simulated time."


def find_topic(metric: str) -> int:
    """The topic that a metric belongs to, by its name, marked or not."""
    plain = metric.removeprefix(metric_names.NON_PRIVATE)
    found = (topic for topic, folders in _TOPICS.items() if plain.startswith(folders))
    return next(found, OTHER)


def describe(metric: str) -> str:
    """What a metric is, in a sentence or two of Markdown.

    Args:
      metric: Name of the metric, marked or not.

    Returns:
      The description; empty for a metric that nothing is known about.
    """
    plain = metric.removeprefix(metric_names.NON_PRIVATE)
    found = ((re.search(pattern, plain), text) for pattern, text in _DESCRIPTIONS)
    match, text = next((pair for pair in found if pair[0]), (None, ""))
    sentences = [text.format(*match.groups()) if match else ""]
    of_what = next((t for folder, t in _OF_WHAT.items() if plain.startswith(folder)), None)
    if of_what is not None and not text.endswith("."):
        sentences[0] = f"{sentences[0]}, {of_what}" if sentences[0] else f"A metric {of_what}"
    if sentences[0] and not sentences[0].endswith("."):
        sentences[0] += "."
    if plain != metric:
        sentences.append(_MARKED)
    return " ".join(part for part in sentences if part)


def may_be_constant(metric: str) -> bool:
    """Whether a metric is drawn only once it has changed; quality is drawn at once."""
    return find_topic(metric) != QUALITY and not metric.endswith("train/loss")
