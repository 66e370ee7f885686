"""Refuses devices and addresses that there are not, and traces that would tell of users."""

# Tested in tests/config/test_run_config.py.

import re

from fedrec_tff import errors
from fedrec_tff.config.output_config import ROUND_RANGE
from fedrec_tff.config.run_config import RunConfig

_HOST_AND_PORT = re.compile(r"[^\s:/@,]+:\d{1,5}|\[[\da-fA-F:]+\]:\d{1,5}")
_RAY_ADDRESSES = ("auto", "local")
_DEVICE = re.compile(r"cpu|(gpu|tpu)(:\d{1,4})?")


def check(config: RunConfig) -> None:
    """Checks the device, addresses of other machines, and the rounds to trace.

    Args:
      config: The run's flags.

    Raises:
      UserError: At the first mistake.
    """
    if _DEVICE.fullmatch(config.device) is None:
        raise errors.UserError(f"--device={config.device}: choose cpu, gpu, gpu:N, tpu or tpu:N")
    _check_addresses(config)
    if config.profile_rounds is not None:
        _check_profile(config)


def check_cluster(flag: str, address: str, config: RunConfig) -> None:
    """Checks a cluster on whose nodes whole runs are to be made.

    Args:
      flag: Name of the flag that names it.
      address: Address of the cluster.
      config: Flags of the runs.

    Raises:
      UserError: If it is no address, or the runs' own work is spread over a cluster too.
    """
    _check_ray_address(flag, address)
    if config.execution == "ray":
        raise errors.UserError(
            f"--{flag}={address} makes whole runs on nodes, and --execution=ray spreads each over "
            "them: choose one"
        )


def _check_ray_address(flag: str, address: str) -> None:
    if address not in _RAY_ADDRESSES and _HOST_AND_PORT.fullmatch(address) is None:
        raise errors.UserError(
            f"--{flag}={address}: choose auto, local or the address of a cluster that this "
            "machine is a node of, as in 10.0.0.1:6379"
        )


def _check_addresses(config: RunConfig) -> None:
    _check_ray_address("ray_address", config.ray_address)
    for worker in config.workers:
        if _HOST_AND_PORT.fullmatch(worker) is None:
            raise errors.UserError(
                f"--workers={','.join(config.workers)}: {worker!r} is no HOST:PORT"
            )
    if len(set(config.workers)) < len(config.workers):
        raise errors.UserError(f"--workers={','.join(config.workers)}: one of them is there twice")


def _check_profile(config: RunConfig) -> None:
    matched = ROUND_RANGE.fullmatch(config.profile_rounds)
    first, last = config.rounds_to_profile if matched else (1, 0)
    if not 1 <= first <= last <= config.rounds:
        raise errors.UserError(
            f"--profile_rounds={config.profile_rounds}: give a round or a range of rounds within "
            f"1 to {config.rounds}, as in 3 or 3-5"
        )
    if config.is_private and not config.release_non_private_metrics:
        raise errors.UserError(
            "--profile_rounds shows how long users' work took, which differential privacy does not "
            "cover: add --release_non_private_metrics, or drop it"
        )
