"""An audit from flags to files. TensorFlow is imported once flags, folder and data are found good.

What is left in the folder: `audit.json`, a picture, and what TensorBoard shows. Runs of
`experiments.train` are neither read nor written.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import run_config
from fedrec_tff.config.checks import model_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, splits
from fedrec_tff.privacy.audit import report
from fedrec_tff.run import data, notices, population, privacy_plan, session, user_draws
from fedrec_tff.run.folder import output_folder, whole_files
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit.config import AuditConfig


@dataclasses.dataclass(frozen=True)
class AuditOutcome:
    """How an audit ended.

    Attributes:
      report: Report with the verdict.
      text: Tables and verdict, for people.
    """

    report: report.AuditReport
    text: str


def run(config: RunConfig, audit: AuditConfig, output_dir: str | os.PathLike) -> AuditOutcome:
    """Trains the audited run, attacks it, and writes what was found.

    Args:
      config: Valid flags of the run.
      audit: Settings of the audit.
      output_dir: A new or empty folder.

    Returns:
      Outcome of the audit.

    Raises:
      UserError: If the folder holds something, or flags or data cannot be used.
    """
    audit_config.validate(audit, config)
    root = _make_empty(pathlib.Path(output_dir))
    dataset = data.load_data(config)
    notices.say(session.summarize(config, dataset))
    model_checks.check_size(config, dataset.split.num_items)
    plan = _create_plan(config, audit, dataset.split)
    charge_fn = _plan_charge(config, audit, plan, root)
    with notices.starting_tensorflow():
        from fedrec_tff.run.tracking import description
        from fedrec_tff.studies.audit import plots as audit_plots
        from fedrec_tff.studies.audit import summary as audit_summary

    attack = {
        audit_config.CANARY: _attack_with_canaries,
        audit_config.MEMBERSHIP: _attack_members,
        audit_config.ADJACENT: _attack_by_adjacent_data,
    }[audit.attack]
    found, text, drawn, details = attack(config, audit, dataset, plan, charge_fn)
    picture = root / f"{audit.attack}.png"
    flags = run_config.to_flags(config)
    told = {
        **found.to_json(),
        **details["json"],
        "audit": dataclasses.asdict(audit),
        "flags": flags,
    }
    try:
        with output_folder.name_shortage(root, "give the same command with a new --output_dir"):
            audit_plots.save(drawn, picture)
            whole_files.write_json(root / "audit.json", told)
            audit_summary.write_tensorboard(
                root,
                found,
                description.tabulate_flags(flags, {}),
                details["scalars"],
                details["histograms"],
                picture,
            )
    except errors.UserError:
        # What it has trained for is told, though there is no room for it.
        notices.say(text)
        raise
    text = "\n".join([text, f"audit: {root / 'audit.json'}, {picture}"])
    return AuditOutcome(found, text)


def _create_plan(
    config: RunConfig, audit: AuditConfig, split: splits.Split
) -> privacy_plan.PrivacyPlan:
    """Mechanism for those who take part in the audited run; attacks draw their own cohorts."""
    num_users = split.train.num_rows
    num_clients = {
        audit_config.CANARY: num_users + audit.num_canaries,
        audit_config.MEMBERSHIP: num_users // 2,
        audit_config.ADJACENT: num_users,
    }[audit.attack]
    num_weights = config.two_tower.num_weights(split.num_items)
    audit_config.check_rounds(audit, config, num_weights)
    return privacy_plan.create_plan(config, num_clients, num_weights)


def _plan_charge(
    config: RunConfig, audit: AuditConfig, plan: privacy_plan.PrivacyPlan, root: pathlib.Path
) -> audit_config.ChargeFn:
    """What takes the cost of the models that the audit trains on the users; there is room for it.

    Each of them counts as if everybody had trained it; shadow models have the audited run's noise.
    """
    models, rounds = 1 + audit.num_shadow_models, config.rounds
    if audit.attack == audit_config.ADJACENT:
        models, rounds = 2 * audit.num_runs, min(audit.rounds_per_run, config.rounds)
    if config.population is None or not models:
        return lambda: None
    events = [(e, models * count) for e, count in population.plan_events(plan, rounds)]
    relation = plan.mechanism.neighbouring_relation
    population.check_room(config.population, [events], relation)
    return functools.partial(
        population.charge,
        config.population,
        population.AUDIT,
        root,
        f"{models} x {population.describe(plan.mechanism, rounds)}",
        events,
        relation,
        plan.departures,
    )


def _attack_with_canaries(
    config: RunConfig,
    audit: AuditConfig,
    dataset: loading.LoadedDataset,
    plan: privacy_plan.PrivacyPlan,
    charge_fn: audit_config.ChargeFn,
) -> tuple[report.AuditReport, str, Any, dict[str, Any]]:
    from fedrec_tff.run import execution
    from fedrec_tff.run.display import rounds_display
    from fedrec_tff.studies.audit import canary_audit
    from fedrec_tff.studies.audit import plots as audit_plots
    from fedrec_tff.studies.audit import summary as audit_summary

    split = dataset.split
    draws = user_draws.draw_with_canaries(
        dataset.train_user_ids, audit.num_canaries, population.draw_key(config)
    )
    parts = canary_audit.create_parts(config, plan, draws)
    with (
        execution.execution_context(config),
        rounds_display.show_rounds(config.rounds) as round_done_fn,
    ):
        done = canary_audit.run(config, audit, split, parts, round_done_fn, charge_fn)
    found = done.report
    drawn = audit_plots.plot_canaries(
        done.canaries, done.held_out, done.num_dimensions, found.verdict
    )
    details = {
        "json": {"num_weights": done.num_dimensions},
        "scalars": {},
        "histograms": {
            "cosines/canaries": done.canaries.final_model,
            "cosines/held_out": done.held_out.final_model,
            "best_cosines/canaries": done.canaries.best_round,
            "best_cosines/held_out": done.held_out.best_round,
        },
    }
    return found, audit_summary.describe_report(found), drawn, details


def _attack_members(
    config: RunConfig,
    audit: AuditConfig,
    dataset: loading.LoadedDataset,
    plan: privacy_plan.PrivacyPlan,
    charge_fn: audit_config.ChargeFn,
) -> tuple[report.AuditReport, str, Any, dict[str, Any]]:
    from fedrec_tff.run import execution
    from fedrec_tff.run.display import rounds_display
    from fedrec_tff.studies.audit import membership_audit
    from fedrec_tff.studies.audit import plots as audit_plots
    from fedrec_tff.studies.audit import summary as audit_summary

    rounds = config.rounds * (1 + audit.num_shadow_models)
    with (
        execution.execution_context(config),
        rounds_display.show_rounds(rounds) as round_done_fn,
    ):
        done = membership_audit.run(config, audit, dataset, plan, round_done_fn, charge_fn)
    found = done.report
    drawn = audit_plots.plot_roc(done.attacks, found.claimed_epsilon, found.delta, found.verdict)
    attacks = {
        attack.name: {
            "auc": attack.auc,
            "auc_stderr": attack.auc_stderr,
            "advantage": attack.advantage,
            "true_positive_rates": {
                f"{rate:g}": value for rate, value in attack.true_positive_rates.items()
            },
        }
        for attack in done.attacks
    }
    details = {
        "json": {
            "attacks": attacks,
            "num_members": done.num_members,
            "num_non_members": done.num_non_members,
        },
        "scalars": {
            f"membership/{attack.name}/{name}": getattr(attack, name)
            for attack in done.attacks
            for name in ("auc", "advantage")
        },
        "histograms": {},
    }
    text = "\n".join(
        [audit_summary.describe_attacks(done.attacks), audit_summary.describe_report(found)]
    )
    return found, text, drawn, details


def _attack_by_adjacent_data(
    config: RunConfig,
    audit: AuditConfig,
    dataset: loading.LoadedDataset,
    plan: privacy_plan.PrivacyPlan,
    charge_fn: audit_config.ChargeFn,
) -> tuple[report.AuditReport, str, Any, dict[str, Any]]:
    from fedrec_tff.run import execution
    from fedrec_tff.run.display import rounds_display
    from fedrec_tff.studies.audit import adjacent_audit
    from fedrec_tff.studies.audit import plots as audit_plots
    from fedrec_tff.studies.audit import summary as audit_summary

    del dataset  # It is written anew, in two versions, and loaded as a run would.
    with (
        execution.execution_context(config),
        rounds_display.show_rounds(2 * audit.num_runs, "run") as run_done_fn,
    ):
        noise_multiplier = plan.mechanism.noise_multiplier
        done = adjacent_audit.run(config, audit, noise_multiplier, run_done_fn, charge_fn)
    found = done.report
    details = {
        "json": {"comparisons": [one.to_json() for one in done.comparisons]},
        "scalars": {f"affected/{stage}": count for stage, count in done.num_affected.items()},
        "histograms": {},
    }
    if done.distinction is not None:
        details["histograms"] = {
            "scores/first": done.distinction.first,
            "scores/second": done.distinction.second,
        }
    drawn = audit_plots.plot_adjacent(done.num_affected, done.distinction, found.verdict)
    return found, audit_summary.describe_report(found), drawn, details


def _make_empty(root: pathlib.Path) -> pathlib.Path:
    output_folder.open_folder(root, "; an audit needs a new folder")
    with output_folder.name_errors(root):
        return whole_files.make_secret_folder(root)
