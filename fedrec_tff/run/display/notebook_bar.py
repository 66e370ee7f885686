"""A progress bar in a notebook's cell: HTML that is redrawn, without widgets to be installed."""

import html
import sys
from typing import Any


def create(total: int, done: int) -> "NotebookBar | None":
    """Creates the bar of a notebook's cell.

    Args:
      total: Amount of work in all.
      done: Amount of work that is done already.

    Returns:
      The bar, which appears with its first `show`; None outside of notebooks.
    """
    # A notebook's kernel has imported it; nobody else needs it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return NotebookBar(total, done) if getattr(shell, "kernel", None) is not None else None


class NotebookBar:
    """One bar with a line of text beside it."""

    def __init__(self, total: int, done: int) -> None:
        """Shows nothing yet.

        Args:
          total: Amount of work in all.
          done: Amount of work that is done already.
        """
        self._total, self._done = total, done
        self._handle: Any = None

    def show(self, text: str, done: int | None = None) -> None:
        """Draws the bar, or draws it anew.

        Args:
          text: Text beside the bar.
          done: Amount of work that is done; None for as much as before.
        """
        from IPython import display

        self._done = self._done if done is None else done
        drawn = display.HTML(
            f'<progress value="{self._done}" max="{self._total}"></progress> '
            f"round {self._done}/{self._total}&emsp;{html.escape(text)}"
        )
        if self._handle is None:
            self._handle = display.display(drawn, display_id=True)
        else:
            self._handle.update(drawn)
