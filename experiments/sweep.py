"""Searches over flags of experiments.train: a grid, at random, or by TPE, which learns.

  python -m experiments.sweep --dataset=ml-1m --output_dir=runs/sweep --seeds=0,1,2
    --sweep client_learning_rate=0.1,0.3,1 --sweep server_optimizer=adam,yogi
  python -m experiments.sweep --search=random --num_trials=20 --output_dir=runs/random
    --sweep server_learning_rate=0.001:0.1:log --sweep embedding_dim=16:64
  python -m experiments.sweep --search=tpe --num_trials=40 --prune --output_dir=runs/tpe
    --sweep 'aggregator=mean;clip,mean;clip,geometric_median' --sweep clip_norm=0.1:2:log
  python -m experiments.sweep --search=random --num_trials=10 --output_dir=runs/private
    --trials_distribution=negative_binomial --objective=private/recall@10 --target_epsilon=2
    --private_evaluation_noise_multiplier=20 --sweep client_learning_rate=0.1:1:log

Every other flag of a run may be given, also by --flagfile, and is shared by all trials. Each trial
is a complete run for every seed, below `trials/`, in a process of its own; the same command resumes
a sweep that was interrupted. The best trial is chosen by validation, never by the test split, and
`best.flags` makes it again. Private trials spend privacy, and are never pruned: docs/sweep.md says
how much.
"""

from absl import flags

from experiments import app
from experiments import flags as run_flags
from fedrec_tff import errors
from fedrec_tff.config.checks import execution_checks
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import space as sweep_space

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the sweep; made if missing.", required=True
)
# A string, so that what was called otherwise before is told like any mistake.
_SEARCH = flags.DEFINE_string(
    "search",
    sweep_config.GRID,
    "Way to find trials: grid, every combination of values; random, each drawn independently; tpe, "
    "Optuna's tree-structured Parzen estimator, which learns from the trials so far.",
)
_SWEEP = flags.DEFINE_multi_string(
    "sweep",
    [],
    "A flag to search over; may be repeated. name=v1,v2,v3 for values; values that hold commas are "
    "separated by semicolons, as in 'aggregator=mean;clip,median' (a single one ends with a "
    "semicolon), parameters inside a value of aggregator_param by spaces; none leaves a flag out. "
    "name=low:high for a range, name=low:high:log for one uniform in the logarithm.",
)
_NUM_TRIALS = flags.DEFINE_integer(
    "num_trials", None, "Trials of random and tpe, or their mean (--trials_distribution)."
)
_SEEDS = flags.DEFINE_list(
    "seeds", None, "Run each trial with each of these; by default with --seed alone."
)
_OBJECTIVE = flags.DEFINE_string(
    "objective",
    sweep_config.DEFAULT_OBJECTIVE,
    "Metric that the best trial is chosen by, in the mean over the seeds: validation/..., or "
    "private/... (noised, and part of epsilon).",
)
_MINIMIZE = flags.DEFINE_bool("minimize", False, "Take less of the objective for better.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    None,
    "Runs at a time, at most; by default half of the cores, or what the cluster has room for.",
    lower_bound=1,
)
_CLUSTER = flags.DEFINE_string(
    "cluster",
    None,
    "Ray cluster on whose nodes runs are made, as processes there, instead of here: auto, the one "
    "that this machine is a node of; HOST:PORT; or local. Each takes --num_parallel_shards "
    "processors, by default two.",
)
_RETRY_FAILED = flags.DEFINE_bool(
    "retry_failed", False, "Try runs again that failed in an earlier session."
)
_TRIALS_DISTRIBUTION = flags.DEFINE_enum(
    "trials_distribution",
    sweep_config.FIXED,
    sweep_config.TRIALS_DISTRIBUTIONS,
    "Draw the number of trials, and the trials, from the operating system's entropy: then the best "
    "trial of a private search costs two or three times one trial, however many there were, if "
    "nothing else is ever shown (Papernot and Steinke 2022). Needs --search=random and "
    "--objective=private/....",
)
_TRIALS_SHAPE = flags.DEFINE_float(
    "trials_shape",
    sweep_config.SweepConfig.trials_shape,
    "Shape of the negative binomial, above -1: 1 is the geometric distribution, 0 the logarithmic.",
)
_PRUNE = flags.DEFINE_bool(
    "prune",
    False,
    "Stop a trial early if the best it has shown in validation is worse than the median of what "
    "the finished trials had shown at the same round; needs five of these. For trials without "
    "privacy alone, with one seed.",
)
_PRUNING_WARMUP_ROUNDS = flags.DEFINE_integer(
    "pruning_warmup_rounds", 0, "Rounds of a trial before which --prune does not stop it."
)

flags.adopt_module_key_flags(run_flags)


def main(argv: list[str]) -> int | None:
    """Runs the sweep."""
    app.check_no_arguments(argv)
    config = _read_config()
    sweep_config.check(config)
    if _RETRY_FAILED.value and config.has_random_number:
        raise errors.UserError(
            f"--retry_failed: with --trials_distribution={config.trials_distribution} a trial that "
            "failed counts as drawn: drop it"
        )
    if _CLUSTER.value is not None:
        execution_checks.check_cluster("cluster", _CLUSTER.value, config.base)
    if config.search == sweep_config.TPE:
        sweep_config.check_extremes(config)
    elif not config.has_random_number:
        sweep_config.create_trials(config)

    # Accounting takes half a second to import, and data longer; wrong flags are told before.
    from fedrec_tff.run.display import summary
    from fedrec_tff.studies.sweep import report as sweep_report
    from fedrec_tff.studies.sweep import session as sweep_session
    from fedrec_tff.studies.sweep import text as sweep_text

    options = sweep_session.Options(
        _NUM_PROCESSES.value, _RETRY_FAILED.value, cluster=_CLUSTER.value
    )
    outcome = sweep_session.run(config, _OUTPUT_DIR.value, options)
    if outcome is None:
        return app.EXIT_INTERRUPTED
    study, cost = outcome.study, outcome.cost
    paths = sweep_report.write(study, cost)
    print(sweep_text.describe_trials(study))
    print(sweep_text.describe_best(study))
    print(sweep_text.describe_cost(cost, config, is_planned=False))
    print(f"sweep: {', '.join(map(str, paths))}")
    if study.best is None:
        return app.EXIT_USER_ERROR if study.trials else None
    print(summary.describe_tensorboard(sweep_report.write_tensorboard(study, cost)))
    return None


def _read_config() -> sweep_config.SweepConfig:
    base = run_flags.read_config(is_checked=False)
    return sweep_config.SweepConfig(
        base=base,
        dimensions=sweep_space.parse(_SWEEP.value),
        search=_SEARCH.value,
        num_trials=_NUM_TRIALS.value,
        seeds=(base.seed,) if _SEEDS.value is None else _read_seeds(_SEEDS.value),
        objective=_OBJECTIVE.value,
        minimize=_MINIMIZE.value,
        trials_distribution=_TRIALS_DISTRIBUTION.value,
        trials_shape=_TRIALS_SHAPE.value,
        prunes=_PRUNE.value,
        pruning_warmup_rounds=_PRUNING_WARMUP_ROUNDS.value,
    )


def _read_seeds(texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise errors.UserError(
            f"--seeds={','.join(texts)}: give whole numbers, as in 0,1,2"
        ) from error


if __name__ == "__main__":
    app.run(main)
