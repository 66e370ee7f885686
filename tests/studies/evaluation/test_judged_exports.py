"""Exports are judged beside their runs and alone: held against loops over users, in NumPy."""

import json
import shutil

import judged
import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.finished import finished_run, portable_model
from fedrec_tff.serving import export, opening
from fedrec_tff.serving.compression import chain, compact_file
from fedrec_tff.serving.compression import session as compression_session
from fedrec_tff.serving.compression.compression_config import CompressionConfig
from fedrec_tff.serving.export_checks import ExportConfig
from fedrec_tff.studies.evaluation import results, session, tables
from fedrec_tff.studies.evaluation.config import EvaluationConfig

_CONFIG = EvaluationConfig(num_resamples=100, min_group_size=12, group_by=("activity",))


def _evaluate(*places, **changes):
    return session.evaluate(_CONFIG, places, changes, opening.open_portable)


@pytest.fixture(name="exports", scope="module")
def _exports(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("exports")
    for folder in folders:
        run = finished_run.find(folder)
        export.export(run, root / folder.name, ExportConfig(formats=()))
    return root / "plain", root / "private"


@pytest.fixture(name="form", scope="module")
def _form(folders, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compression_session, "_NUM_COMPARED", 20)
        patched.setattr(compression_session, "_NUM_TIMED", 2)
        root = tmp_path_factory.mktemp("forms") / "small"
        config = CompressionConfig(chain.parse("quantize bits=4"), measures_held_out=False)
        compression_session.run(finished_run.find(folders[0]), config, root)
    return root / "quantize-bits-4"


def _rewrite(folder, to, **changes):
    """A copy of an export with another manifest; None takes an entry out."""
    shutil.copytree(folder, to)
    values = json.loads((to / "export.json").read_text()) | changes
    kept = {name: value for name, value in values.items() if value is not None}
    (to / "export.json").write_text(json.dumps(kept))
    return to


def test_an_export_is_worth_what_its_run_is(folders, exports):
    """In any position, on the run's own split, all metrics, groups and tests of them."""
    for places in ((exports[0], folders[0]), (folders[0], exports[0])):
        one, other = _evaluate(*places)
        held_out = other.measured.data.dataset.split.test
        _, reciprocal = judged.walk(folders[0], held_out, 10)
        assert other.metrics.keys() == one.metrics.keys()
        for name, found in one.metrics.items():
            assert other.metrics[name].value == pytest.approx(found.value, rel=1e-3, abs=2e-3)
        for report in (one, other):
            assert report.metrics["mrr"].value == pytest.approx(reciprocal.mean(), abs=1e-4)
            assert not report.is_private
            assert not report.measured.data.notes
        assert other.num_compared == held_out.num_rows
        assert other.differences["mrr"].p_value > 0.5
        groups = [report.partitions["activity"].groups for report in (one, other)]
        assert groups[0].keys() == groups[1].keys() != set()
    text = tables.describe([one, other], _CONFIG)
    assert "plain: export; synthetic" in text
    kinds = [found["kind"] for found in results.to_json([one, other], _CONFIG, {})["runs"].values()]
    assert kinds == ["run", "export"]


def test_an_export_alone_is_judged_by_the_data_that_it_tells_of(folders, exports):
    (alone,) = _evaluate(exports[0])
    held_out = finished_run.find(folders[0]).reopened.dataset.split.test
    np.testing.assert_array_equal(
        alone.measured.data.evaluation_set.targets.items, held_out.targets.items
    )
    _, reciprocal = judged.walk(folders[0], held_out, 10)
    assert alone.metrics["mrr"].value == pytest.approx(reciprocal.mean(), abs=1e-4)
    (other,) = _evaluate(exports[0], split="unseen_users")
    assert "another split of data of this name" in other.notes[0]
    (others,) = _evaluate(exports[0], dataset="synthetic", synthetic_users=40, synthetic_items=260)
    assert others.measured.values.num_users == 40


def test_a_smaller_form_is_ranked_by_its_own_numbers(folders, form):
    run, small = _evaluate(folders[0], form)
    model = compact_file.load(form / "compact.npz")
    arrays = {"items/embedding": model.embedding.decode(), "items/bias": model.bias.decode()}
    arrays |= {f"tower/{index}": part.decode() for index, part in enumerate(model.tower)}
    held_out = run.measured.data.evaluation_set
    for row in range(0, held_out.num_rows, 9):
        expected = judged.score(arrays, held_out.history.row(row))
        found = small.measured.data.score_fn(held_out.history.take(np.array([row])))[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert small.metrics["mrr"].value != run.metrics["mrr"].value
    with pytest.raises(errors.UserError, match=r"holds several models: name one: .*quantize-bits"):
        _evaluate(folders[0], form.parent)


def test_an_export_of_a_private_run_is_marked_as_that_is(exports, folders, tmp_path):
    report, plain = _evaluate(exports[1], exports[0], seed=0)
    assert report.is_private
    assert not plain.is_private
    found = results.to_json([report], _CONFIG, {})["runs"]["private"]
    assert all(name.startswith("non_private/test/") for name in found["metrics"])
    assert found["epsilon"] <= 8.0
    # Beside a private run the users are its own.
    assert _evaluate(folders[1], exports[0])[1].is_private
    unknown = _rewrite(exports[0], tmp_path / "unknown", privacy={})
    (report,) = _evaluate(unknown, seed=0)
    assert report.is_private
    assert "not known: it is taken for private" in report.notes[0]
    for name, changes in (("withheld", {"withholds": True}), ("unsaid", {"withholds": None})):
        folder = _rewrite(exports[1], tmp_path / name, **changes)
        with pytest.raises(errors.UserError, match="withhold"):
            _evaluate(folder, seed=0)


def test_what_an_export_does_not_tell_is_asked_for(exports, tmp_path):
    """The seed of a private run draws these data, and is secret."""
    with pytest.raises(errors.UserError, match=r"does not tell --seed of its run: give what"):
        _evaluate(exports[1])
    silent = _rewrite(exports[0], tmp_path / "silent", data=None)
    with pytest.raises(errors.UserError, match=r"does not tell which data .* by --dataset"):
        _evaluate(silent)
    changes = {"dataset": "synthetic", "synthetic_users": 90, "synthetic_items": 260}
    (report,) = _evaluate(silent, **changes)
    assert any("not known how many of the targets" in note for note in report.notes)


def test_what_goes_with_a_model_is_configuration_alone(exports):
    config = RunConfig(
        dataset="csv",
        data_dir="/home/somebody/events.csv",
        item_table="products.csv",
        user_column="who",
        seed=7,
    )
    told = portable_model.tell_data(config)
    assert told.places == ("data_dir", "item_table")
    assert told.flags["user_column"] == "who"
    assert told.flags["seed"] == 7
    assert not {"data_dir", "item_table", "roster", "user_table"} & told.flags.keys()
    assert "seed" not in json.loads((exports[1] / "export.json").read_text())["data"]["flags"]
