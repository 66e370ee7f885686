"""The topic of the end of training: when it comes, and which round's model is released."""

# Tested in tests/config/checks/test_stopping_checks.py.

import dataclasses

from fedrec_tff.config.field_spec import MOST, Need, declare

LAST = "last"
BEST = "best"

_VALIDATION = Need(
    "--released_model=best or --early_stopping_patience",
    lambda config: config.follows_validation,
)
_PATIENCE = Need("--early_stopping_patience", lambda config: config.early_stopping_patience > 0)


@dataclasses.dataclass(frozen=True)
class StoppingConfig:
    """The end of training, and what is released then. See each field's help."""

    released_model: str | None = declare(
        None,
        "Model that the run measures and releases in the end: last, that of the last round, or "
        "best, that of the evaluation with the best --selection_metric. By default best with "
        "--early_stopping_patience, and last without.",
        choices=(LAST, BEST),
        costs_privacy=False,
    )
    selection_metric: str = declare(
        "ndcg@10",
        "Validation metric by which the best model is chosen and early stopping goes: recall@k, "
        "ndcg@k, map@k, hit_rate@k or mrr. Under differential privacy, that of the noised "
        "validation (--private_evaluation_noise_multiplier).",
        needs=(_VALIDATION,),
        costs_privacy=False,
    )
    early_stopping_patience: int = declare(
        0,
        "Evaluations in a row without an improvement of --selection_metric after which training "
        "ends; 0 to train all --rounds.",
        low=0,
        high=MOST,
    )
    early_stopping_min_delta: float = declare(
        0.0,
        "Amount by which --selection_metric must rise to count as an improvement for early "
        "stopping.",
        low=0.0,
        high=1.0,
        needs=(_PATIENCE,),
    )
    time_budget_minutes: float | None = declare(
        None,
        "Minutes of training, evaluations included and all sessions together, after which the "
        "round that is under way is the last. Not under differential privacy: a clock tells how "
        "much users have.",
        low=0.0,
        high=1e9,
        low_is_allowed=False,
        may_grow_on_resume=True,
    )

    @property
    def releases_best(self) -> bool:
        """Whether the run releases the model of its best evaluation."""
        if self.released_model is None:
            return self.early_stopping_patience > 0
        return self.released_model == BEST

    @property
    def follows_validation(self) -> bool:
        """Whether validation decides which model is released, or when training ends."""
        return self.releases_best or self.early_stopping_patience > 0

    @property
    def time_budget_seconds(self) -> float | None:
        """The time budget; None for none."""
        return None if self.time_budget_minutes is None else 60.0 * self.time_budget_minutes
