"""Refuses flags that are out of range, or that contradict each other, before anything is read.

What a flag's declaration says is checked here: its range, and what it needs. The rules of a topic
stand in a module of its own.
"""

# Tested in tests/config/test_run_config.py and tests/across_rooms/test_extreme_flags.py.

import math
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import field_spec
from fedrec_tff.config.checks import (
    algorithm_checks,
    cohort_checks,
    data_checks,
    device_checks,
    execution_checks,
    loss_checks,
    model_checks,
    on_device_checks,
    output_checks,
    population_checks,
    privacy_checks,
    report_checks,
    server_checks,
    simulation_checks,
    stopping_checks,
)
from fedrec_tff.config.field_spec import FieldSpec
from fedrec_tff.config.run_config import RunConfig

# The normal numbers among 32-bit floats, in which computations are.
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1.2e-38, 3.4e38


def validate(config: RunConfig) -> None:
    """Refuses values that are out of range, and combinations that contradict each other.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake, naming the flag and the way out.
    """
    check_ranges(config)
    for rules in (
        output_checks,
        server_checks,
        execution_checks,
        privacy_checks,
        population_checks,
        data_checks,
    ):
        rules.check(config)
    _check_needs(config)
    for rules in (
        model_checks,
        loss_checks,
        report_checks,
        cohort_checks,
        simulation_checks,
        device_checks,
        algorithm_checks,
        on_device_checks,
        stopping_checks,
    ):
        rules.check(config)


def check_ranges(config: Any) -> None:
    """Refuses values that their declarations do not allow.

    Args:
      config: A dataclass of flags.

    Raises:
      UserError: If a value is none of the choices, not finite, out of range, or no 32-bit float.
    """
    for name, spec in field_spec.read_specs(type(config)).items():
        _check_range(name, getattr(config, name), spec)


def _check_needs(config: RunConfig) -> None:
    """Refuses a flag that was changed although nothing reads it."""
    for name, spec in field_spec.read_specs(RunConfig).items():
        if getattr(config, name) == getattr(RunConfig, name):
            continue
        for need in spec.needs:
            if not need.is_met(config):
                raise errors.UserError(
                    f"--{name} means nothing without {need.text}: {need.way_out}"
                )


def _check_range(name: str, value: Any, spec: FieldSpec) -> None:
    if value is not None and spec.choices is not None and value not in spec.choices:
        raise errors.UserError(f"--{name}={value}: choose one of {', '.join(spec.choices)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise errors.UserError(f"--{name}={value}: must be a finite number")
    if spec.low is not None and (
        value < spec.low or (value == spec.low and not spec.low_is_allowed)
    ):
        bound = "at least" if spec.low_is_allowed else "more than"
        raise errors.UserError(f"--{name}={value}: must be {bound} {_write(spec.low)}")
    if spec.high is not None and value > spec.high:
        raise errors.UserError(f"--{name}={value}: must be at most {_write(spec.high)}")
    if value and not _SMALLEST_FLOAT <= abs(value) <= _LARGEST_FLOAT:
        raise errors.UserError(
            f"--{name}={value}: must be 0 or between {_SMALLEST_FLOAT:g} and {_LARGEST_FLOAT:g} in "
            "size, for computations are in 32-bit floats"
        )


def _write(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
