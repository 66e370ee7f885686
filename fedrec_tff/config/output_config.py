"""The topic of a run's course: when it is measured and saved, and how it goes on."""

# Tested in tests/config/test_run_config.py.

import dataclasses
import re

from fedrec_tff.config.field_spec import MOST, declare
from fedrec_tff.config.privacy_config import PRIVACY

# Recommenders that a run may be held against, and the word for all of them.
REFERENCES = ("ease", "markov", "ials")
ALL_REFERENCES = "all"

ROUND_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclasses.dataclass(frozen=True)
class OutputConfig:
    """Evaluations, checkpoints and traces. See each field's help."""

    rounds_per_evaluation: int = declare(20, "Rounds between validations.", low=1, high=MOST)
    list_lengths: tuple[str, ...] = declare(
        (),
        "Lengths of the lists for metrics at k, as in 5,10,20; the first is shown where there is "
        "room for one. By default 10, and 10,20 for adjacency sets, whose publications have 20. A "
        "noised evaluation releases 10 alone unless lengths are given: with more of them each "
        "has more noise, and epsilon is the same.",
        holds_numbers=True,
    )
    references: tuple[str, ...] = declare(
        (),
        "Simpler recommenders to fit on the same training data once training has ended, with a few "
        "parameters that validation chooses among, and to compare the model with: "
        f"{', '.join(REFERENCES)}, separated by commas, or {ALL_REFERENCES}, without markov where "
        "data have no order. They are exact functions of the users' data, so differential privacy "
        "needs --release_non_private_metrics with them.",
        costs_privacy=False,
    )
    rounds_per_checkpoint: int | None = declare(
        None,
        "Rounds between checkpoints; by default 1 under differential privacy, where a round that "
        "is lost in a crash is spent all the same, and 10 without.",
        low=1,
        high=MOST,
        costs_privacy=False,
    )
    profile_rounds: str | None = declare(
        None,
        "Rounds to trace with TensorFlow's profiler, as in 3 or 3-5; under differential privacy "
        "only with --release_non_private_metrics: a trace shows how long users' work took.",
        may_change_on_resume=True,
    )
    resume_copy: bool = declare(
        False,
        "Go on with a private run in a copy of its folder, or one that was restored or moved to "
        "another file system. For when nobody goes on with the original: epsilon counts this "
        "folder's history alone, and the ledger and the statement say so.",
        needs=(PRIVACY,),
        may_change_on_resume=True,
    )

    @property
    def rounds_to_profile(self) -> tuple[int, int] | None:
        """The first and the last round to profile; None for none."""
        if self.profile_rounds is None:
            return None
        first, last = ROUND_RANGE.fullmatch(self.profile_rounds).groups()
        return int(first), int(last or first)
