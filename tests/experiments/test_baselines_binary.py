"""The binary as its users meet it."""

import csv
import functools
import json
import signal

import binaries
import pytest

from fedrec_tff.studies.comparison import report as comparison_report
from fedrec_tff.studies.comparison import tables

_TINY = ["--synthetic_users=60", "--synthetic_items=60", "--ials_dim=4", "--ials_epochs=2"]


start = functools.partial(binaries.start, "baselines")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("baselines")
    tiny = [*_TINY, "--two_tower_epochs=1", "--embedding_dim=4", "--ease_max_gigabytes=1e-6"]
    # Client work's loss comes with TFF, whose default context dies loudly if it is let.
    return root, *binaries.finish(start(f"--output_dir={root}", "--query_tower=gru", *tiny))


def test_a_tiny_run_leaves_its_files(finished):
    root, status, stdout, stderr = finished
    assert status == 0, stderr
    assert not [line for line in stderr.splitlines() if "Warning" in line or "Traceback" in line]
    assert "leaving ease out: ease needs" in stderr
    results = json.loads((root / "baselines.json").read_text())
    fitted = ["popularity", "markov", "ials", "two_tower"]
    assert list(results["baselines"]) == fitted
    for name in fitted:
        (line,) = (row for row in stdout.splitlines() if row.split()[:1] == [name])
        assert f"{results['baselines'][name]['test']['recall@10']:.4f}" == line.split()[1]
    rows = list(csv.DictReader((root / "baselines.csv").open()))
    assert [row["baseline"] for row in rows] == fitted
    assert rows[2]["ials_dim"] == "4"
    assert rows[0]["ials_dim"] == ""
    assert float(rows[3]["test/mrr"]) == results["baselines"]["two_tower"]["test"]["mrr"]
    compared = tables.to_markdown(comparison_report.compare([root]))
    assert f"| {results['baselines']['ials']['test']['recall@10']:.4f} |" in compared
    assert "experiments.baselines --synthetic_users=60 --synthetic_items=60" in compared


def test_tensorboard_has_a_run_for_each(finished):
    from tensorboard.backend.event_processing import event_accumulator

    root = finished[0]
    results = json.loads((root / "baselines.json").read_text())
    for name, found in results["baselines"].items():
        events = event_accumulator.EventAccumulator(str(root / name))
        events.Reload()
        tags = set(events.Tags()["tensors"])
        # In the charts of models that are trained.
        assert tags >= {"1 validation/recall@10", "6 non_private/test/recall@10", "5 time/seconds"}
        assert "Share of a user" in (
            events.SummaryMetadata("6 non_private/test/recall@10").summary_description
        )
        (written,) = events.Tensors("results/metrics")
        (text,) = written.tensor_proto.string_val
        for metric, value in found["test"].items():
            assert f"| test/{metric} | `{value:.6g}` |" in text.decode()
        # What baselines are fitted with are no columns of each other.
        assert "_hparams_/session_start_info" not in tags


# Without TensorFlow.


def test_an_interrupt_exits_cleanly_and_keeps_what_is_fitted(tmp_path):
    process = start(
        f"--output_dir={tmp_path}",
        *_TINY[:3],
        "--ials_epochs=10000",
        "--baselines=popularity,ials",
    )
    for line in process.stderr:
        if line.startswith("ials: fitting"):
            break
    process.send_signal(signal.SIGINT)
    status, stdout, stderr = binaries.finish(process)
    assert status == 130
    assert stdout == ""
    assert stderr.splitlines() == [
        "what is fitted is kept; the same command goes on",
        "interrupted",
    ]
    assert (tmp_path / "models" / "popularity.json").exists()
    assert not (tmp_path / "models" / "ials.json").exists()


def test_help_lists_what_means_something_here():
    process = start("--help")
    _, stdout, _ = binaries.finish(process)
    for flag in ("--dataset", "--ials_dim", "--ease_regularization", "--history_length"):
        assert flag in stdout
    assert "--target_epsilon" not in stdout
    assert "python -m experiments.baselines" in stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rounds=3"], "rounds"),
        (["--baselines=pop"], "'pop' is unknown"),
        (["--baselines=ease", "--ials_dim=3"], "--ials_dim means nothing without ials"),
        (
            ["--private_popularity_epsilon=1", "--catalogue=selected"],
            "--catalogue=selected: only experiments.train chooses a catalogue with noise",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, flags, said):
    status, _, stderr = binaries.finish(start(f"--output_dir={tmp_path / 'new'}", *flags))
    assert status == 2
    (line,) = stderr.splitlines()
    assert said in line
    assert not (tmp_path / "new").exists()
