"""Names of devices as people type them."""

import pytest
import tensorflow as tf

from fedrec_tff.execution import devices, exceptions


def _pretend(monkeypatch, **counts):
    """As if the machine had these devices; kinds that are not named there are none of."""
    counts = {"CPU": 1, **counts}

    def list_logical_devices(kind):
        names = [f"/device:{kind}:{index}" for index in range(counts.get(kind, 0))]
        return [tf.config.LogicalDevice(name, kind) for name in names]

    monkeypatch.setattr(tf.config, "list_logical_devices", list_logical_devices)


def test_the_cpu_is_always_there():
    (name,) = devices.find_devices("cpu")
    assert name.endswith("CPU:0")


def test_all_gpus_or_one(monkeypatch):
    _pretend(monkeypatch, GPU=3)
    assert devices.find_devices("gpu") == ["/device:GPU:0", "/device:GPU:1", "/device:GPU:2"]
    assert devices.find_devices("gpu:2") == ["/device:GPU:2"]
    assert devices.find_devices("cpu") == ["/device:CPU:0"]


@pytest.mark.parametrize("name", ["gpu:2", "gpu:10", "cpu:1", "tpu", "tpu:0"])
def test_what_is_not_there_is_told_with_what_is(monkeypatch, name):
    _pretend(monkeypatch, GPU=2)
    monkeypatch.setattr(devices, "_connect_tpu", lambda: None)
    with pytest.raises(
        exceptions.DeviceNotFoundError, match=rf"'{name}' .* which has cpu, gpu:0, gpu:1$"
    ):
        devices.find_devices(name)


def test_a_machine_without_accelerators(monkeypatch):
    _pretend(monkeypatch)
    with pytest.raises(exceptions.DeviceNotFoundError, match=r"'gpu' .* which has cpu$"):
        devices.find_devices("gpu")


@pytest.mark.parametrize("name", ["", "GPU", "gpu:", "gpu:-1", "gpu0", "cuda", "/device:GPU:0"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(exceptions.DeviceNotFoundError, match="choose cpu, gpu, gpu:N, tpu"):
        devices.find_devices(name)
