"""Weights & Biases, offline; skipped where the package is not installed."""

import asyncio
import pathlib

import pytest

from fedrec_tff.run.tracking import wandb_runs
from fedrec_tff.run.tracking.reported_run import ReportedRun

wandb = pytest.importorskip("wandb")


def _read(folder):
    """Rows of history and the configuration of the one offline run below a folder."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal import datastore

    (path,) = pathlib.Path(folder).glob("wandb/offline-run-*/run-*.wandb")
    store = datastore.DataStore()
    store.open_for_scan(str(path))
    rows, kinds, configured = [], set(), {}
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record.FromString(data)
        kinds.add(record.WhichOneof("record_type"))
        if record.HasField("history"):
            keys = [item.key or "/".join(item.nested_key) for item in record.history.item]
            values = [item.value_json for item in record.history.item]
            rows.append(dict(zip(keys, values, strict=True)))
        if record.HasField("run"):
            configured |= {item.key: item.value_json for item in record.run.config.update}
            configured["display_name"] = record.run.display_name
    return rows, kinds, configured


def test_rounds_are_steps_of_an_offline_run_and_nothing_else_is_gathered(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = ReportedRun("mine", "abc123", tmp_path, {"rounds": 2}, is_private=True)
    manager = wandb_runs.build(run, "project")
    for number in (1, 2):
        asyncio.run(manager.release({"private/recall@10": number / 8}, number))
    asyncio.run(manager.release({"privacy/epsilon": 3.5}, 2))
    manager.close()
    # What was logged is on disk once the service has ended.
    wandb.teardown()
    rows, kinds, configured = _read(tmp_path)
    assert [float(row["private/recall@10"]) for row in rows] == [0.125, 0.25]
    assert [int(row["_step"]) for row in rows] == [1, 2]
    assert float(rows[-1]["privacy/epsilon"]) == 3.5
    assert {key for row in rows for key in row if not key.startswith("_")} == {
        *("private/recall@10", "privacy/epsilon")
    }
    assert configured["display_name"] == "mine"
    assert configured["rounds"] == "2"
    # Neither the load of the machine nor what was printed.
    assert not kinds & {"stats", "output", "output_raw"}
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"wandb-metadata.json" not in written
