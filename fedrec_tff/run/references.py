"""What simpler recommenders make of a run's data: fitted and measured when training has ended."""

# Tested in tests/whole_runs/test_run_outputs.py and tests/evaluation/test_references.py.

from typing import Any

import numpy as np

from fedrec_tff.evaluation import held_out, scoring
from fedrec_tff.evaluation import references as references_lib
from fedrec_tff.run import notices
from fedrec_tff.run.records import Session


def measure(session: Session) -> dict[str, dict[str, Any]]:
    """Fits the references that the run asks for, and measures them as its model is measured.

    Args:
      session: The run.

    Returns:
      For each reference its parameters, which validation chose, the number of those tried, seconds,
      and metrics of `validation` and `test`; or why it was left out.
    """
    return {name: _measure_one(session, name) for name in session.config.chosen_references}


def _measure_one(session: Session, name: str) -> dict[str, Any]:
    config, split = session.config, session.dataset.split
    obstacle = references_lib.find_obstacle(name, split.num_items)
    if obstacle is not None:
        notices.say(f"leaving the reference {name} out: {obstacle}")
        return {"left_out": obstacle}
    notices.say(f"fitting the reference {name}")
    try:
        found = references_lib.fit(name, split, config.ks[0], config.seed)
        parts = {
            part: held_out.evaluate_part(found.score_fn, split, part, config.ks, config.seed)
            for part in held_out.PARTS
        }
    except (scoring.NotNumbersError, np.linalg.LinAlgError) as error:
        notices.say(f"warning: the reference {name} has no metrics: {error}")
        return {"left_out": f"its scores are no numbers: {error}"}
    return {
        "parameters": dict(found.parameters),
        "num_tried": found.num_tried,
        "seconds": found.seconds,
        **parts,
    }
