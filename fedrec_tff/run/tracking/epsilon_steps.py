"""What was spent so far, as a picture and a table.

TensorBoard smooths every curve of scalars, each point by those before it. Epsilon never falls, so
its smoothed curve is always below what was spent. No flag of TensorBoard's turns that off for one
curve. So epsilon is no curve: it is drawn here, as steps.
"""

from collections.abc import Sequence

import matplotlib.backends.backend_agg as backend_agg
import numpy as np
from matplotlib import figure

from fedrec_tff.run.tracking import markdown

# That of a card, so that nothing of it is made smaller.
_SIZE_INCHES = (3.7, 2.5)
_DPI = 100
_MOST_ROWS = 20


def draw(history: Sequence[tuple[int, float]], name: str, rounds: int) -> np.ndarray:
    """Draws epsilon over the rounds.

    Args:
      history: Rounds, and the epsilon after each; all finite.
      name: Name that epsilon deserves, such as `epsilon`.
      rounds: Rounds of the whole run.

    Returns:
      A picture, uint8 [height, width, 3].
    """
    plot = figure.Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    canvas = backend_agg.FigureCanvasAgg(plot)
    axes = plot.subplots()
    numbers, epsilons = zip(*history, strict=True)
    axes.step(numbers, epsilons, where="post", linewidth=1.8)
    axes.plot(numbers[-1:], epsilons[-1:], "o", color="C0")
    axes.set_title(f"{epsilons[-1]:.4g} after round {numbers[-1]}", fontsize=10)
    axes.set_xlim(0, max(rounds, numbers[-1]) * 1.03)
    axes.set_ylim(0, max(epsilons) * 1.1)
    axes.set_xlabel("round")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def tabulate(history: Sequence[tuple[int, float]], name: str) -> str:
    """Writes epsilon over the rounds as a table in Markdown, of twenty rows at most.

    Args:
      history: Rounds, and the epsilon after each.
      name: Name that epsilon deserves.

    Returns:
      Lines; the last round is always among them.
    """
    places = np.unique(np.linspace(0, len(history) - 1, _MOST_ROWS).round().astype(int))
    rows = [(str(history[i][0]), f"{history[i][1]:.4g}") for i in places]
    return markdown.create_table(("after round", name), rows)
