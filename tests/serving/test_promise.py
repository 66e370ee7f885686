"""What a page says of a model's privacy is what its run proved, and never more."""

import pytest
import shipped_models

from fedrec_tff.run.finished import finished_run
from fedrec_tff.serving import export, export_folder, promise
from fedrec_tff.serving.export_checks import ExportConfig

_SAID = {"privacy_statement": "This run has ...", "delta": 1e-5}


@pytest.mark.parametrize(
    ("values", "is_private", "summary"),
    [
        # Up, for 7.98 was not proved.
        ({"epsilon": 7.981}, True, "Private: epsilon 7.99 at delta 1e-05, for each user"),
        ({"epsilon": None}, False, "Not private: no differential privacy"),
        ({"epsilon": "inf"}, False, "Not private: its epsilon is nobody's"),
        ({"insecure_epsilon": 2.0}, False, "Not private: its epsilon is nobody's"),
        (
            {"simulated_epsilon": 2.0},
            False,
            "Simulated: epsilon 2.00 at delta 1e-05, of a larger deployment",
        ),
    ],
)
def test_the_summary_is_of_the_number_that_the_run_has(values, is_private, summary):
    found = promise.read(_SAID | values)
    assert found == promise.Promise(is_private, summary, "This run has ...")


def test_a_model_without_a_statement_is_not_called_private():
    assert promise.read({"epsilon": 1.0}) == promise.Promise(
        False, "It is not known what this model promises", ""
    )


def test_an_export_says_what_its_run_does_and_no_metric_goes_with_it(tmp_path):
    results = {"epsilon": 3.5, "delta": 1e-6, "non_private/test/recall@10": 0.2}
    run = finished_run.find(shipped_models.write_run(tmp_path / "run", results).root)
    export.export(run, tmp_path / "export", ExportConfig(formats=()))
    folder = export_folder.ExportFolder(tmp_path / "export")
    found = export_folder.read_manifest(folder).privacy
    assert found == {
        "privacy_statement": run.results["privacy_statement"],
        "epsilon": 3.5,
        "delta": 1e-6,
    }
    assert promise.read(found) == promise.read(run.results)
