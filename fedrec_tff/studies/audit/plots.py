"""Pictures of audits: scores of canaries, and ROC curves of membership attacks."""

# Tested in tests/experiments/test_audit_binary.py.

import math
import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import figure
from scipy import stats

from fedrec_tff.privacy.audit import canary_scores, distinguishing, membership, roc
from fedrec_tff.run.folder import whole_files

matplotlib.use("Agg")

_SIZE_INCHES = (7.0, 4.5)
_NUM_BINS = 40
_SMALLEST_RATE = 1e-3


def plot_canaries(
    present: canary_scores.CanaryScores,
    held_out: canary_scores.CanaryScores,
    num_dimensions: int,
    title: str,
) -> figure.Figure:
    """Draws the histograms of canaries that took part beside those that did not.

    Args:
      present: Scores of canaries among the users.
      held_out: Scores of canaries that were never there.
      num_dimensions: Weights of the model, for the law of the cosine by chance.
      title: Title of the picture.

    Returns:
      The figure: the final model's cosines in units of their spread by chance, and the likelihood
      ratios of all rounds.
    """
    drawn = figure.Figure(figsize=(2 * _SIZE_INCHES[0], _SIZE_INCHES[1]), layout="constrained")
    left, right = drawn.subplots(1, 2)
    scale = math.sqrt(num_dimensions)
    _histograms(left, scale * present.final_model, scale * held_out.final_model)
    grid = np.linspace(*left.get_xlim(), 200)
    left.plot(grid, stats.norm.pdf(grid), "k--", linewidth=1, label="by chance")
    left.set_xlabel("cosine with the final model, in standard deviations by chance")
    left.legend()
    _histograms(right, present.all_rounds, held_out.all_rounds)
    right.set_xlabel("log likelihood ratio over all rounds")
    right.set_yscale("log")
    right.legend()
    drawn.suptitle(title, fontsize="medium", wrap=True)
    return drawn


def plot_adjacent(
    num_affected: Mapping[str, int],
    distinction: distinguishing.Distinction | None,
    title: str,
) -> figure.Figure:
    """Draws how many others one user's data reach, and how well whole runs are told apart.

    Args:
      num_affected: Number of others who are affected, by stage.
      distinction: Scores of runs; None where none were trained.
      title: Title of the picture.

    Returns:
      The figure.
    """
    drawn = figure.Figure(figsize=(2 * _SIZE_INCHES[0], _SIZE_INCHES[1]), layout="constrained")
    left, right = drawn.subplots(1, 2)
    left.barh(list(num_affected), list(num_affected.values()), color="tab:red")
    left.invert_yaxis()
    left.set_xlim(0, max(1, *num_affected.values()))
    left.set_xlabel("other users affected by one user's data")
    if distinction is None:
        right.set_axis_off()
    else:
        scores = (distinction.first, distinction.second)
        middle, scale = np.mean(scores), np.std(scores) or 1.0
        bins = np.linspace(*(np.percentile(scores, [0, 100]) - middle) / scale, _NUM_BINS)
        for name, values in zip(("with the user", "without"), scores, strict=True):
            right.hist((values - middle) / scale, bins, alpha=0.5, label=name)
        right.set_xlabel("score of a whole run, in standard deviations")
        right.legend()
    drawn.suptitle(title, fontsize="medium", wrap=True)
    return drawn


def plot_roc(
    attacks: Sequence[membership.AttackResult], epsilon: float, delta: float, title: str
) -> figure.Figure:
    """Draws ROC curves, with what differential privacy allows at most.

    Args:
      attacks: Result of each attack.
      epsilon: Epsilon of the claim; infinite for none.
      delta: Delta of the claim.
      title: Title of the picture.

    Returns:
      The figure; both axes are logarithmic, because few false positives are what counts.
    """
    drawn = figure.Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = drawn.subplots()
    rates = np.logspace(math.log10(_SMALLEST_RATE), 0.0, 200)
    for attack in attacks:
        axes.step(
            attack.curve.false_positive_rate,
            attack.curve.true_positive_rate,
            where="post",
            label=f"{attack.name}: AUC {attack.auc:.3f}",
        )
    axes.plot(rates, rates, "k:", linewidth=1, label="guessing")
    if math.isfinite(epsilon):
        allowed = roc.largest_true_positive_rate(rates, epsilon, delta)
        axes.plot(rates, allowed, "k--", linewidth=1, label=f"allowed by epsilon {epsilon:.3g}")
    axes.set(xscale="log", yscale="log", xlim=(_SMALLEST_RATE, 1.0), ylim=(_SMALLEST_RATE, 1.05))
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend(loc="lower right", fontsize="small")
    drawn.suptitle(title, fontsize="medium", wrap=True)
    return drawn


def save(drawn: figure.Figure, path: pathlib.Path) -> None:
    """Writes a figure as a PNG file, as a whole or not at all."""
    with whole_files.open_whole(path) as file:
        drawn.savefig(file, dpi=100, format="png")


def _histograms(axes: matplotlib.axes.Axes, present: np.ndarray, held_out: np.ndarray) -> None:
    bins = np.histogram_bin_edges(np.concatenate([present, held_out]), _NUM_BINS)
    axes.hist(held_out, bins, density=True, alpha=0.5, label="canaries held out")
    axes.hist(present, bins, density=True, alpha=0.5, label="canaries among the users")
    axes.set_ylabel("density")
