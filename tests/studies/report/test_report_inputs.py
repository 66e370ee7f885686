import json

import pytest
import report_folders

from fedrec_tff import errors
from fedrec_tff.studies.report import inputs


def test_each_folder_is_read_once_and_as_what_it_is(tmp_path):
    run = report_folders.write_run(tmp_path / "all" / "run")
    begun = report_folders.write_run(tmp_path / "all" / "begun", is_finished=False)
    baselines = report_folders.write_baselines(tmp_path / "all" / "base", {"ease": 0.1})
    sweep = report_folders.write_sweep(tmp_path / "all" / "sweep")
    study = report_folders.write_robustness(tmp_path / "all" / "study")
    judged = report_folders.write_evaluation(tmp_path / "all" / "judged")
    audit = report_folders.write_audit(tmp_path / "all" / "audit")
    (tmp_path / "all" / "notes").mkdir()
    found = inputs.read([tmp_path / "all", run])
    assert [folder.path for folder in found.complete] == [baselines, run]
    assert [folder.path for folder in found.begun] == [begun]
    assert [one.path for one in found.sweeps] == [sweep]
    assert [one.path for one in found.robustness] == [study]
    assert [one.path for one in found.evaluations] == [judged]
    assert [one.path for one in found.audits] == [audit]
    assert found.left_out == ()


def test_what_is_not_finished_is_named(tmp_path):
    sweep = report_folders.write_sweep(tmp_path / "sweep")
    (sweep / "sweep.json").unlink()
    (tmp_path / "study" / "cells").mkdir(parents=True)
    found = inputs.read([sweep, tmp_path / "study"])
    assert "sweep that is not finished" in found.left_out[0]
    assert "study that is not finished" in found.left_out[1]


def test_folders_without_anything_and_damaged_files_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.UserError, match="empty holds no run"):
        inputs.read([tmp_path / "empty"])
    with pytest.raises(errors.UserError, match=r"no folder .*missing"):
        inputs.read([tmp_path / "missing"])
    with pytest.raises(errors.UserError, match="at least one"):
        inputs.read([])
    run = report_folders.write_run(tmp_path / "run")
    (run / "results.json").write_text("{")
    with pytest.raises(errors.UserError, match="run holds a results"):
        inputs.read([run])
    begun = report_folders.write_run(tmp_path / "begun", is_finished=False)
    (begun / "config.json").write_text("[]")
    with pytest.raises(errors.UserError, match="json cannot be read"):
        inputs.read([begun])


def test_a_trial_that_nobody_may_see_is_refused(tmp_path):
    drawn = report_folders.write_sweep(tmp_path / "drawn", law="geometric")
    with pytest.raises(errors.UserError, match="no trial is ever seen"):
        inputs.read([drawn / "trials" / "001" / "seed-0"])
    with pytest.raises(errors.UserError, match="no trial is ever seen"):
        inputs.read([drawn / "trials" / "001"])
    fixed = report_folders.write_sweep(tmp_path / "fixed")
    assert len(inputs.read([fixed / "trials" / "001"]).complete) == 2


def test_exact_statistics_of_users_are_known_to_be_there(tmp_path):
    plain = report_folders.write_run(tmp_path / "plain")
    assert not inputs.read([plain]).has_exact_statistics
    private = report_folders.write_run(tmp_path / "private", epsilon=8.0)
    assert inputs.read([private]).has_exact_statistics
    # Only its `metrics.csv` tells.
    begun = report_folders.write_run(tmp_path / "begun", epsilon=8.0, is_finished=False)
    assert inputs.read([begun]).has_exact_statistics
    results = json.loads((private / "results.json").read_text())
    withheld = {k: v for k, v in results.items() if not k.startswith("non_private/")}
    (private / "results.json").write_text(json.dumps(withheld))
    (private / "metrics.csv").write_text("round,privacy/epsilon,private/recall@10\n2,1.0,0.1\n")
    assert not inputs.read([private]).has_exact_statistics
