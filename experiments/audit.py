"""Attacks a training run, to see whether it keeps what it claims.

  python -m experiments.audit --attack=canary --target_epsilon=8 --output_dir=runs/audit

`canary` trains with canaries among the users, computes what they prove about epsilon, and tries
noise, clipping and sampling directly. `membership` trains on a random half of the users and tells
members from non-members by the model. `adjacent` changes the data of one user, and looks for what
differs of anybody else's, from the files to the sums; then it tells whole runs apart. Every flag of
a run may be given. The run is made for the audit; no other run is touched. The exit status is 1 if
the run is shown not to keep its claim.
"""

from absl import flags

from experiments import app
from experiments import flags as run_flags
from fedrec_tff.studies.audit import config as audit_config

_DEFAULTS = audit_config.AuditConfig()
# What it attacks is the run's privacy; the flag of a run that has the same name makes users attack.
_ATTACK = flags.DEFINE_enum(
    "attack", _DEFAULTS.attack, audit_config.ATTACKS, "How to attack.", allow_override=True
)
_NUM_CANARIES = flags.DEFINE_integer(
    "num_canaries", _DEFAULTS.num_canaries, "Canaries that join the users (canary)."
)
_CANARY_NORM = flags.DEFINE_float(
    "canary_norm",
    _DEFAULTS.canary_norm,
    "Norm of what canaries send, in multiples of --clip_norm: above 1, so that it must be clipped.",
)
_NUM_SHADOW_MODELS = flags.DEFINE_integer(
    "num_shadow_models",
    _DEFAULTS.num_shadow_models,
    "Further models to train, on random halves of the users, to calibrate by (membership); even.",
)
_NUM_RUNS = flags.DEFINE_integer(
    "num_runs",
    _DEFAULTS.num_runs,
    "Runs to train on each of two data sets, to tell them apart (adjacent); 0 for none.",
)
_ROUNDS_PER_RUN = flags.DEFINE_integer(
    "rounds_per_run",
    _DEFAULTS.rounds_per_run,
    "Rounds of each of these, at most; the claim is then for as many (adjacent).",
)
_CONFIDENCE = flags.DEFINE_float(
    "confidence", _DEFAULTS.confidence, "With which the lower bounds on epsilon hold."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "A new folder for what is found.", required=True
)

flags.adopt_module_key_flags(run_flags)

_EXIT_VIOLATION = 1


def main(argv: list[str]) -> int | None:
    """Runs the audit."""
    app.check_no_arguments(argv)
    config = run_flags.read_config(ignored=("attack",))
    audit = audit_config.AuditConfig(
        attack=_ATTACK.value,
        num_canaries=_NUM_CANARIES.value,
        canary_norm=_CANARY_NORM.value,
        num_shadow_models=_NUM_SHADOW_MODELS.value,
        num_runs=_NUM_RUNS.value,
        rounds_per_run=_ROUNDS_PER_RUN.value,
        confidence=_CONFIDENCE.value,
    )

    from fedrec_tff.studies.audit import session as audit_session

    outcome = audit_session.run(config, audit, _OUTPUT_DIR.value)
    print(outcome.text)
    return _EXIT_VIOLATION if outcome.report.accuses else None


if __name__ == "__main__":
    app.run(main)
