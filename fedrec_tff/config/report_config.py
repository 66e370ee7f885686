"""The topic of trackers: where else the metrics of a run go, besides its folder and TensorBoard."""

# Tested in tests/config/test_report_flags.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.plugins import chosen, parameters, signatures
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.plugins.plugin_flag import PluginFlag

WANDB, MLFLOW = "wandb", "mlflow"
TRACKERS = (WANDB, MLFLOW)
FLAG = PluginFlag("report_to", first_parameter="the run that is reported")

_OWN = Need(
    "a builder of yours in --report_to",
    lambda config: any(name not in TRACKERS for name in config.report_to),
)


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Trackers. See each field's help."""

    report_to: tuple[str, ...] = declare(
        (),
        "Trackers that get each round's metrics besides the run's folder and TensorBoard, "
        "separated by commas: wandb, mlflow, or a release manager of yours, as "
        "package.module:builder or path/to/file.py:builder. They get what TensorBoard gets and no "
        "more.",
        costs_privacy=False,
        may_change_on_resume=True,
    )
    report_to_param: tuple[str, ...] = declare(
        (),
        "A parameter of a builder in --report_to, as key=value.",
        is_repeated=True,
        needs=(_OWN,),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    wandb_project: str = declare(
        "fedrec_tff",
        "Project of Weights & Biases that the run is reported to.",
        needs=(Need("--report_to=wandb", lambda config: WANDB in config.report_to),),
        costs_privacy=False,
        may_change_on_resume=True,
    )
    mlflow_experiment: str = declare(
        "fedrec_tff",
        "Experiment of MLflow that the run is reported to; MLFLOW_TRACKING_URI says where.",
        needs=(Need("--report_to=mlflow", lambda config: MLFLOW in config.report_to),),
        costs_privacy=False,
        may_change_on_resume=True,
    )

    @property
    def own_reporters(self) -> tuple[Chosen, ...]:
        """The release managers of somebody's own, with their parameters; imports nothing."""
        own = [name for name in self.report_to if name not in TRACKERS]
        other = f"or choose one of {', '.join(TRACKERS)}"
        builders = [chosen.find_builder(name, FLAG, other) for name in own]
        read = [signatures.read_signature(builder, FLAG) for builder in builders]
        values = parameters.assign(self.report_to_param, list(zip(own, read, strict=True)), FLAG)
        return tuple(
            Chosen(name, builder, tuple(set_to.items()))
            for name, builder, set_to in zip(own, builders, values, strict=True)
        )
