"""The topic of what stays on devices: personal parts of the model, and fine-tuning."""

# Tested in tests/whole_runs/test_personal_sessions.py.

import dataclasses

from fedrec_tff.config.field_spec import Need, declare
from fedrec_tff.learning import personal_config

_TOWER = Need(
    "--personal_tower=embedding or scale_and_shift", lambda config: config.personal is not None
)
_STEPS = Need("--reconstruction_steps above 0", lambda config: config.reconstruction_steps > 0)
_FINETUNING = Need("--finetuning_epochs", lambda config: config.finetuning_epochs > 0)


@dataclasses.dataclass(frozen=True)
class OnDeviceConfig:
    """The parts of the model that never leave the device. See each field's help."""

    personal_tower: str = declare(
        personal_config.NONE,
        "A part of the model that never leaves the device: embedding, a vector added to the query; "
        "scale_and_shift, q * (1 + s) + p. The device fits it to its user's history.",
        choices=personal_config.PERSONAL_TOWERS,
    )
    personal_state: str = declare(
        personal_config.RECONSTRUCTED,
        "Beginning of the personal part in a round: reconstructed, from zeros in each (Singhal et "
        "al. 2021); persistent, as the device kept it from its last one.",
        choices=personal_config.PERSONAL_STATES,
        needs=(_TOWER, _STEPS),
    )
    reconstruction_steps: int = declare(
        5,
        "Gradient steps by which a device fits the personal part.",
        low=0,
        high=10_000,
        needs=(_TOWER,),
    )
    reconstruction_learning_rate: float = declare(
        0.5,
        "Step size of the reconstruction.",
        low=0.0,
        low_is_allowed=False,
        needs=(_TOWER, _STEPS),
    )
    support_fraction: float = declare(
        0.5,
        "The part of a user's examples, the oldest, that the personal part is fitted to in "
        "training; the others train the global part.",
        low=0.0,
        high=0.95,
        low_is_allowed=False,
        needs=(_TOWER, _STEPS),
    )
    finetuning_epochs: int = declare(
        0,
        "Passes over a user's history by which, at the end, the device fine-tunes a copy of the "
        "model that is also evaluated, as personalized/...; 0 for no fine-tuning.",
        low=0,
        high=10_000,
    )
    finetuning_learning_rate: float = declare(
        0.1,
        "Step size of the fine-tuning, which is plain SGD.",
        low=0.0,
        low_is_allowed=False,
        needs=(_FINETUNING,),
    )

    @property
    def personal(self) -> personal_config.PersonalConfig | None:
        """The part of the model that stays on the device; None for none."""
        if self.personal_tower == personal_config.NONE:
            return None
        return personal_config.PersonalConfig(
            self.personal_tower,
            self.reconstruction_steps,
            self.reconstruction_learning_rate,
            self.support_fraction,
            self.personal_state == personal_config.PERSISTENT,
        )
