"""Trains a private recommender on synthetic users, and shows what privacy costs.

  make demo

No network and no files are needed. The users are made up; their taste and its drift are there to
be learned. Three recommenders are compared on what each user took last: DP-FedAvg, the same
training without noise, and popularity.
"""

import dataclasses
import datetime
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from experiments import app
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import departures

if TYPE_CHECKING:
    from fedrec_tff.run import records

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the two runs; by default, a new one under runs/."
)

_PRIVATE = RunConfig(
    synthetic_users=5_000,
    embedding_dim=16,
    history_length=5,
    temperature=0.2,
    num_negatives=64,
    batch_size=0,
    client_learning_rate=2.0,
    server_learning_rate=0.03,
    clients_per_round=500,
    target_epsilon=8.0,
    rounds=50,
    rounds_per_evaluation=10,
    rounds_per_checkpoint=10,
)
_WITHOUT_NOISE = dataclasses.replace(_PRIVATE, target_epsilon=None)
_NUM_SHOWN = 5


def main(argv: list[str]) -> int | None:
    """Runs both trainings and prints the comparison."""
    app.check_no_arguments(argv)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    root = pathlib.Path(_OUTPUT_DIR.value or f"runs/demo-{stamp}")

    from fedrec_tff.run import session
    from fedrec_tff.run.display import summary

    print("1/2  with user-level differential privacy (DP-FedAvg)", flush=True)
    private = session.run(_PRIVATE, root / "private")
    if private.results is None:
        return app.EXIT_INTERRUPTED
    print("2/2  the same without clipping and noise", flush=True)
    without_noise = session.run(_WITHOUT_NOISE, root / "without_noise")
    if without_noise.results is None:
        return app.EXIT_INTERRUPTED

    results = private.results
    _, epsilon = departures.find_epsilon(results)
    delta = results["delta"]
    rows = {
        f"private, epsilon {epsilon:.2f}": (results, "test/"),
        "popularity": (without_noise.results, "popularity/test/"),
        "without noise": (without_noise.results, "test/"),
    }
    print(summary.create_table(rows))
    print(f"spent: epsilon {epsilon:.3f} at delta {delta:g}, for each user\n")
    if private.score_fn is not None:
        print(_describe_recommendations(private))
    print(summary.describe_tensorboard(root))
    return None


def _describe_recommendations(private: "records.SessionOutcome") -> str:
    from fedrec_tff.evaluation import recommend

    titles = private.dataset.interactions.item_features["title"].to_numpy()
    test = private.dataset.split.test
    history = test.history.take(np.array([0]))
    items, _ = recommend.top_k(
        private.score_fn, history, private.dataset.split.num_items, _NUM_SHOWN
    )
    user = private.dataset.interactions.user_ids[test.user_index[0]]
    lines = [f"user {user} lately took: " + "; ".join(titles[history.items[-_NUM_SHOWN:]])]
    lines += ["the private model recommends: " + "; ".join(titles[items[0]])]
    lines += ["and the user took next: " + "; ".join(titles[test.targets.row(0)]), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
