"""Plans a round on accelerators on paper: users a second, what bounds them, time to compile.

  python -m experiments.plan_accelerator --cards=h100,l4

The clients' program is compiled by XLA for each card, which need not be here: `make accelerator`
with DEVICE=cuda12 brings the compiler for NVIDIA's cards, with DEVICE=tpu that for TPUs. A card
whose compiler is not there is planned with the program that XLA makes for the device here. Kernels,
bytes and operations are read off the program and held against what is published of the card: the
least that it could take. --check times a block on the device here, and says how far the same model
is off on it. Takes some minutes.
"""

import dataclasses
import json

from absl import flags

from experiments import app
from experiments.command_line import field_flags
from fedrec_tff import errors
from fedrec_tff.benchmarks.accelerator import plan_config

_OF_PLAN = field_flags.define(plan_config.PlanConfig)
flags.adopt_module_key_flags(field_flags)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object, and nothing else.")


def main(argv: list[str]) -> None:
    """Plans and prints."""
    app.check_no_arguments(argv)
    config = plan_config.PlanConfig(**field_flags.read(_OF_PLAN))
    plan_config.validate(config)

    from fedrec_tff.accelerator import worker_process
    from fedrec_tff.execution import exceptions

    try:
        worker_process.find_python()

        # Imported late: TensorFlow takes ten seconds, and that there is no worker is told before.
        from fedrec_tff.benchmarks.accelerator import accelerator_plan, text

        found = accelerator_plan.run(config)
    except exceptions.ExecutionError as error:
        raise errors.UserError(str(error)) from error
    print(json.dumps(dataclasses.asdict(found), indent=2) if _JSON.value else text.to_text(found))


if __name__ == "__main__":
    app.run(main)
