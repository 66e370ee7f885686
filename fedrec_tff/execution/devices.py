"""Names of devices as people type them."""

import re

import tensorflow as tf

from fedrec_tff.execution.exceptions import DeviceNotFoundError

_PATTERN = re.compile(r"(cpu|gpu|tpu)(?::(\d+))?")


def find_devices(name: str) -> list[str]:
    """Finds the devices of a name.

    Args:
      name: Name of one or more devices: `cpu`, `gpu` (all of them), `gpu:N`, `tpu` (all of its
        cores) or `tpu:N`.

    Returns:
      TensorFlow's names of the devices.

    Raises:
      DeviceNotFoundError: If the name is unknown or the machine has no such device; the message
        lists what there is.
    """
    matched = _PATTERN.fullmatch(name)
    if matched is None:
        raise DeviceNotFoundError(f"{name!r}: choose cpu, gpu, gpu:N, tpu or tpu:N")
    kind, index = matched.group(1).upper(), matched.group(2)
    if kind == "TPU":
        _connect_tpu()
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    if index is not None:
        devices = devices[int(index) : int(index) + 1]
    if not devices:
        raise DeviceNotFoundError(f"{name!r} is not on this machine, which has {describe()}")
    return devices if kind != "CPU" else devices[:1]


def describe() -> str:
    """The devices of this machine, as in `cpu, gpu:0`."""
    kinds = ("GPU", "TPU")
    found = [
        f"{kind.lower()}:{index}"
        for kind in kinds
        for index, _ in enumerate(tf.config.list_logical_devices(kind))
    ]
    return ", ".join(["cpu", *found])


def _connect_tpu() -> None:
    """Makes a TPU's cores visible; where there is no TPU, none will be."""
    if tf.config.list_logical_devices("TPU"):
        return
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError):
        return
