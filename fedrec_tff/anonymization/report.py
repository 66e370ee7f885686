"""What was reached, and what it cost: numbers for a file, a table for the screen.

The report holds exact statistics of the original data. It is for whoever anonymises, and not part
of what is handed on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff.anonymization import information_loss, k_anonymity, linkage, pipeline


def create_report(
    result: pipeline.Anonymized,
    linkage_risk: linkage.LinkageRisk | None,
    recall: Mapping[str, Mapping[str, Mapping[str, float]]] | None,
    source: str = "",
) -> dict[str, Any]:
    """Puts all that is known of a result into plain data that `json` can write.

    Args:
      result: Anonymised data to report on.
      linkage_risk: Result of `linkage.measure`; None if there is none.
      recall: Result of `evaluation.utility_loss.measure`, for the versions "raw" and "anonymized";
        None if it was not measured.
      source: Line that says what the data are.

    Returns:
      The report.
    """
    return {
        "source": source,
        "settings": dataclasses.asdict(result.config),
        "insecure_deterministic_noise": result.is_predictable,
        "counts": _count(result),
        "k_anonymity": _describe_anonymity(result),
        "l_diversity": _describe_diversity(result),
        "information_loss": _measure_information_loss(result),
        "randomized_response": _describe_responses(result),
        "time": _describe_time(result),
        "linkage_by_known_items": (
            None if linkage_risk is None else dataclasses.asdict(linkage_risk)
        ),
        "recall": recall,
        "not_protected": (
            "anonymisation is hygiene, no guarantee: whoever knows enough of a user's items still "
            "finds them; differential privacy is the guarantee"
        ),
    }


def describe(report: Mapping[str, Any]) -> str:
    """Renders the report as a table of several lines."""
    counts, anonymity = report["counts"], report["k_anonymity"]
    lines = [report["source"]] if report["source"] else []
    lines.append(_line("", "before", "after"))
    for name in ("users", "interactions", "items"):
        lines.append(_line(name, *(f"{counts[name][when]:,}" for when in ("before", "after"))))
    if anonymity is None:
        lines.append("no quasi-identifiers, so nothing was generalised and nobody suppressed")
    else:
        lines += _describe_classes(report, anonymity)
    lines += _describe_linkage(report["linkage_by_known_items"])
    if report["recall"] is not None:
        for reference, versions in report["recall"].items():
            for metric in versions["raw"]:
                label = f"{metric} of {reference.replace('_', ' ')}"
                values = (versions[version][metric] for version in ("raw", "anonymized"))
                lines.append(_line(label, *(f"{value:.4f}" for value in values)))
    return "\n".join([*lines, "", *_describe_changes(report)])


def _describe_classes(report: Mapping[str, Any], anonymity: Mapping[str, Any]) -> list[str]:
    before, after = anonymity["before"], anonymity["after"]
    lines = [
        _line(f"k (asked for: {anonymity['required']})", before["k"], after["k"]),
        _line("median class of users alike", before["median_size"], after["median_size"]),
        _line("users alone in their class", f"{before['users_alone']:,}", after["users_alone"]),
    ]
    diversity = report["l_diversity"]
    if diversity is not None:
        title = f"l, distinct {diversity['sensitive']}"
        if diversity["required"] > 1 and diversity["kind"] == "distinct":
            title += f" (asked for: {diversity['required']})"
        lines.append(_line(title, diversity["before"]["distinct"], diversity["after"]["distinct"]))
        title = "l, by entropy"
        if diversity["required"] > 1 and diversity["kind"] == "entropy":
            title += f" (asked for: {diversity['required']})"
        values = (f"{diversity[when]['entropy']:.2f}" for when in ("before", "after"))
        lines.append(_line(title, *values))
    return lines


def _describe_linkage(risk: Mapping[str, Any] | None) -> list[str]:
    if risk is None:
        return []
    lines = []
    for name, what in (
        ("by_items", f"found by {risk['num_known_items']} items"),
        ("by_items_and_attributes", f"found by attributes and {risk['num_known_items']} items"),
    ):
        shares = [risk[f"{name}_{when}"] for when in ("before", "after")]
        if None not in shares:
            lines.append(_line(f"users {what}", *(f"{100 * share:.1f} %" for share in shares)))
    return lines


def _describe_changes(report: Mapping[str, Any]) -> list[str]:
    counts, anonymity = report["counts"], report["k_anonymity"]
    share = counts["shares"]
    lines = []
    if anonymity is not None:
        levels = ", ".join(
            f"{name} {level['example']}" for name, level in anonymity["levels"].items()
        )
        lines += [
            f"suppressed: {counts['users']['suppressed']:,} users "
            f"({100 * share['users_suppressed']:.1f} %) with "
            f"{counts['interactions']['suppressed']:,} interactions",
            f"generalised, for example: {levels}; certainty lost: "
            f"{100 * report['information_loss']['certainty_penalty']:.1f} %",
        ]
    parts = [
        f"{100 * share[f'interactions_{name}']:.1f} % {what}"
        for name, what in (
            ("changed", "tell another item"),
            ("added", "decoys added"),
            ("merged", "merged with an equal row"),
        )
        if counts["interactions"][name]
    ]
    if parts:
        lines.append(f"interactions: {', '.join(parts)}")
    lines.append(report["time"]["statement"])
    if report["randomized_response"] is not None:
        lines.append(report["randomized_response"]["statement"])
    if report["recall"] is not None:
        lines.append("recall: small references, trained before and after; same users and targets")
    if report["insecure_deterministic_noise"]:
        lines.append("INSECURE: noise, decoys and shuffles can be undone by whoever has the seed")
    return [*lines, f"not protected: {report['not_protected']}"]


def _line(label: str, before: object, after: object) -> str:
    return f"{label:<40}{before!s:>14}{after!s:>14}"


def _count(result: pipeline.Anonymized) -> dict[str, Any]:
    log, rows = result.log, result.rows
    suppressed_rows = int(np.count_nonzero(~result.keep_user[log.user_index]))
    stayed = log.num_interactions - suppressed_rows
    num_suppressed = int(np.count_nonzero(~result.keep_user))
    interactions = {
        "before": log.num_interactions,
        "suppressed": suppressed_rows,
        "changed": result.num_changed,
        "added": result.num_decoys,
        "merged": result.num_merged,
        "after": len(rows.user_index),
    }
    return {
        "users": {
            "before": log.num_users,
            "suppressed": num_suppressed,
            "after": log.num_users - num_suppressed,
        },
        "items": {
            "before": len(np.unique(log.item_index)),
            "after": len(np.unique(rows.item_index)),
        },
        "interactions": interactions,
        "shares": {
            "users_suppressed": num_suppressed / log.num_users,
            "interactions_suppressed": suppressed_rows / log.num_interactions,
        }
        | {
            f"interactions_{name}": interactions[name] / stayed
            for name in ("changed", "added", "merged")
        },
    }


def _classes(result: pipeline.Anonymized) -> dict[str, k_anonymity.Classes]:
    """The classes of all users by their raw attributes, and of those who stay by their labels."""
    chosen, keep = result.chosen, result.keep_user
    raw = pd.DataFrame({name: levels.raw for name, levels in chosen.hierarchies.items()})
    sensitive = chosen.sensitive
    return {
        "before": k_anonymity.find_classes(raw, sensitive),
        "after": k_anonymity.find_classes(
            result.generalized.labels[keep], None if sensitive is None else sensitive[keep]
        ),
    }


def _describe_anonymity(result: pipeline.Anonymized) -> dict[str, Any] | None:
    if result.generalized is None:
        return None
    described = {
        when: {
            "k": int(classes.sizes.min()),
            "median_size": float(np.median(classes.sizes)),
            "largest": int(classes.sizes.max()),
            "classes": len(classes.sizes),
            "users_alone": int(np.count_nonzero(classes.sizes == 1)),
        }
        for when, classes in _classes(result).items()
    }
    labels = result.generalized.labels[result.keep_user]
    levels = {
        name: {"level": level, "top_level": count - 1, "example": labels[name].mode()[0]}
        for name, (level, count) in result.generalized.levels.items()
    }
    return {"required": result.config.effective_k, "levels": levels, **described}


def _describe_diversity(result: pipeline.Anonymized) -> dict[str, Any] | None:
    if result.generalized is None or result.chosen.sensitive is None:
        return None
    described = {
        when: {
            "distinct": int(classes.distinct.min()),
            "entropy": float(classes.entropy.min()),
        }
        for when, classes in _classes(result).items()
    }
    return {
        "sensitive": result.chosen.sensitive_name,
        "kind": result.config.diversity,
        "required": result.config.l,
        **described,
    }


def _measure_information_loss(result: pipeline.Anonymized) -> dict[str, float] | None:
    if result.generalized is None:
        return None
    penalties = {
        name: information_loss.user_penalties(hierarchy, result.generalized.levels[name][0])
        for name, hierarchy in result.chosen.hierarchies.items()
    }
    sizes = _classes(result)["after"].sizes
    return {
        "discernibility": information_loss.discernibility(sizes, len(result.keep_user)),
        "certainty_penalty": information_loss.certainty_penalty(penalties, result.keep_user),
    }


def _describe_responses(result: pipeline.Anonymized) -> dict[str, Any] | None:
    if result.responses is None:
        return None
    epsilon = result.config.item_epsilon
    longest = int(result.log.lengths[result.keep_user].max())
    where = "any two items of the catalogue"
    if result.config.response_domain == "genre":
        where = "two items of the same first genre, which itself is told exactly"
    unprotected = result.responses.num_unprotected
    statement = (
        f"randomised response: epsilon {epsilon:g} for the item of one interaction, between "
        f"{where}; a user with n interactions composes to n * {epsilon:g}, "
        f"{math.ceil(longest * epsilon):,} for the longest; how many interactions, and when, is "
        "not covered"
    )
    if unprotected:
        statement += f"; {unprotected:,} interactions are told exactly, their genre has one item"
    return {
        "epsilon_per_interaction": epsilon,
        "interactions_of_longest_user": longest,
        "epsilon_of_longest_user": longest * epsilon,
        "domain": result.config.response_domain,
        "mean_probability_of_truth": result.responses.mean_keep_probability,
        "interactions_told_exactly": unprotected,
        "statement": statement,
    }


def _describe_time(result: pipeline.Anonymized) -> dict[str, Any]:
    granularity = result.time_granularity
    kept = result.config.keep_order
    if granularity == "none":
        statement = "times: dropped"
        order = "a user's rows are in their true order" if kept else "a user's rows are shuffled"
    else:
        statement = f"times: the start of the {granularity}"
        order = "rows of one user in it are " + ("in their true order" if kept else "shuffled")
    return {"granularity": granularity, "order_kept": kept, "statement": f"{statement}; {order}"}
