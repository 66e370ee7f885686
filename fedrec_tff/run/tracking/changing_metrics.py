"""Which metrics of a run are worth a curve: one that never changes is a line of a table instead."""

from collections.abc import Iterable, Mapping

from fedrec_tff.run.tracking import cards

# A metric's name, the round and the value.
Point = tuple[str, int, float]


class ChangingMetrics:
    """Holds metrics back until they change, and then gives all of their points."""

    def __init__(self, earlier: Iterable[tuple[int, Mapping[str, float]]] = ()) -> None:
        """Starts where an earlier session of the run has ended.

        Args:
          earlier: Rounds that are computed already, in their order, and their metrics; what has
            changed among them has been drawn.
        """
        self._held: dict[str, list[Point]] = {}
        self._drawn: set[str] = set()
        for round_number, metrics in earlier:
            self.observe(metrics, round_number)

    def observe(self, metrics: Mapping[str, float], round_number: int) -> list[Point]:
        """Takes the metrics of one more round.

        Args:
          metrics: Metrics by name.
          round_number: Number of the round, larger than that before.

        Returns:
          The points to draw now.
        """
        points: list[Point] = []
        for name, value in metrics.items():
            held = self._held.get(name, [])
            point = (name, round_number, float(value))
            if name in self._drawn or not cards.may_be_constant(name):
                points.append(point)
            elif not held or held[-1][2] == point[2]:
                self._held.setdefault(name, []).append(point)
            else:
                points += [*self._held.pop(name), point]
                self._drawn.add(name)
        return points

    @property
    def constants(self) -> dict[str, float]:
        """The metrics that have had one value so far, by name."""
        return {name: held[-1][2] for name, held in sorted(self._held.items())}
