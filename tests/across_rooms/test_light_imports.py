import subprocess
import sys

_PRIVACY = [
    *("accounting", "calibration", "chained_file", "departures", "distributed"),
    *("events", "factorization", "ledger", "ledger_format", "loss_distributions", "mechanisms"),
    *("noise_tables", "participation", "partition_selection", "planning"),
    *("population_budget", "population_format", "population_ledger"),
    *("release_calibration", "releases", "sampling", "statement", "tuning"),
]
_MECHANISM_KINDS = [
    *("adaptive", "banded", "base", "central", "correlated", "gaussian", "kinds", "local"),
    *("mechanism", "shared", "sparse", "terms", "tree"),
]
_AUDIT = [
    *("canary_scores", "checks", "divergence", "gaussian_estimate", "lower_bound", "membership"),
    *("participation_checks", "report", "roc"),
]
_EVALUATION = [
    *("ease", "group_metrics", "ials", "inequality", "item_cooccurrence", "item_genres"),
    *("list_diversity", "negatives", "popularity", "popularity_bias", "ranking", "recommend"),
    *("recommended_lists", "resampling", "row_metrics", "scoring", "user_groups", "user_values"),
]
_MODULES = [
    *(f"fedrec_tff.privacy.{name}" for name in _PRIVACY),
    *(f"fedrec_tff.privacy.mechanisms.{name}" for name in _MECHANISM_KINDS),
    *(f"fedrec_tff.privacy.audit.{name}" for name in _AUDIT),
    *(f"fedrec_tff.evaluation.{name}" for name in _EVALUATION),
    *("fedrec_tff.studies.privacy_plan.text", "fedrec_tff.studies.privacy_plan.plots"),
    *("fedrec_tff.checks.aggregator_text", "fedrec_tff.checks.aggregator_check_config"),
    *("fedrec_tff.run.display.population_text", "fedrec_tff.run.population"),
    # What tells of a mistake in flags, folder or data.
    *(f"fedrec_tff.{room}.session" for room in ("run", "studies.audit", "studies.sweep")),
    *("fedrec_tff.studies.baselines.session", "fedrec_tff.accelerator.worker_process"),
    *("fedrec_tff.notebook.training", "fedrec_tff.notebook.trained_run"),
    *("fedrec_tff.studies.data_report.guess", "fedrec_tff.studies.data_report.text"),
    *("fedrec_tff.studies.report.page", "experiments.report"),
    *("fedrec_tff.serving.promise", "fedrec_tff.serving.playground.http_server"),
    "experiments.playground",
    *("fedrec_tff.serving.opening", "fedrec_tff.serving.export_checks"),
    *("fedrec_tff.serving.history_files", "fedrec_tff.serving.explaining"),
    *("experiments.plan_privacy", "experiments.aggregators", "experiments.ledger"),
    *("fedrec_tff.benchmarks.scale.text", "fedrec_tff.learning.simulation.fleet.buffered_rounds"),
    *("experiments.compress", "fedrec_tff.serving.compression.chain"),
]


_HEAVY = ("tensorflow", "pandas", "numpy", "scipy", "pyarrow", "absl", "rich", "asyncio")


def _run(code):
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr


def test_the_package_itself_imports_next_to_nothing():
    _run(
        "import sys, fedrec_tff\n"
        f"heavy = [name for name in sys.modules if name.split('.')[0] in {_HEAVY}]\n"
        "own = {name for name in sys.modules if name.startswith('fedrec_tff')}\n"
        "assert not heavy, heavy\n"
        "assert own == {'fedrec_tff', 'fedrec_tff.errors'}, own\n"
    )


def test_a_wrong_keyword_is_told_before_pandas_is_imported():
    _run(
        "import sys, fedrec_tff\n"
        "try: fedrec_tff.train('synthetic', output_dir='x', target_epsilo=8)\n"
        "except fedrec_tff.UserError: pass\n"
        "heavy = {'pandas', 'tensorflow', 'scipy'} & {*sys.modules}\n"
        "assert not heavy, heavy\n"
    )


def test_public_names_are_few_and_documented():
    _run(
        "import fedrec_tff, typing\n"
        "names = ['TrainedRun', 'UserError', '__version__', 'load', 'train']\n"
        "assert fedrec_tff.__all__ == names and {*names} <= {*dir(fedrec_tff)}\n"
        "from fedrec_tff import *\n"
        "for found in (train, load, TrainedRun, TrainedRun.recommend, TrainedRun.evaluate):\n"
        "    assert found.__doc__ and found.__annotations__ is not None, found\n"
        "try: fedrec_tff.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)\n"
        "else: raise AssertionError\n"
    )


def test_privacy_and_evaluation_do_not_import_tensorflow():
    code = (
        f"import importlib, sys\nfor name in {_MODULES}: importlib.import_module(name)\n"
        "heavy = [name for name in sys.modules if name.startswith('tensorflow')]\n"
        "assert not heavy, heavy[:5]\n"
    )
    _run(code)


def test_what_flags_ask_of_mechanisms_waits_for_no_accounting():
    _run(
        "import sys\nfrom fedrec_tff.privacy.mechanisms import kinds\n"
        "heavy = {'dp_accounting', 'scipy', 'pandas', 'tensorflow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
