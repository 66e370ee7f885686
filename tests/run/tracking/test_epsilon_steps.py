import numpy as np

from fedrec_tff.run.tracking import epsilon_steps


def test_the_table_has_the_first_and_the_last_round_and_twenty_rows_at_most():
    history = [(number, number / 10) for number in range(1, 101)]
    lines = epsilon_steps.tabulate(history, "insecure_epsilon").splitlines()
    assert lines[0] == "| after round | insecure_epsilon |"
    assert (lines[2], lines[-1], len(lines)) == ("| 1 | 0.1 |", "| 100 | 10 |", 22)
    assert len(epsilon_steps.tabulate(history[:3], "epsilon").splitlines()) == 5


def test_the_picture_rises_with_epsilon():
    def height(history):
        picture = epsilon_steps.draw(history, "epsilon", 10).astype(int)
        # matplotlib's first blue.
        is_line = np.abs(picture - (31, 119, 180)).sum(axis=2) < 30
        rows = np.flatnonzero(is_line.any(axis=1))
        return rows.min(), rows.max()

    level, rising = height([(1, 2.0), (9, 2.0)]), height([(1, 0.5), (9, 2.0)])
    assert level[1] - level[0] < 12
    assert rising[1] - rising[0] > 100
