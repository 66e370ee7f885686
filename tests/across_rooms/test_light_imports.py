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
    *("mechanism", "shared", "terms", "tree"),
]
_AUDIT = [
    *("canary_scores", "checks", "divergence", "gaussian_estimate", "lower_bound", "membership"),
    *("participation_checks", "report", "roc"),
]
_EVALUATION = [
    *("ease", "ials", "item_cooccurrence", "negatives", "popularity", "ranking", "recommend"),
    "scoring",
]
_MODULES = [
    *(f"fedrec_tff.privacy.{name}" for name in _PRIVACY),
    *(f"fedrec_tff.privacy.mechanisms.{name}" for name in _MECHANISM_KINDS),
    *(f"fedrec_tff.privacy.audit.{name}" for name in _AUDIT),
    *(f"fedrec_tff.evaluation.{name}" for name in _EVALUATION),
    *("fedrec_tff.studies.privacy_plan.text", "fedrec_tff.studies.privacy_plan.plots"),
    *("fedrec_tff.checks.aggregator_text", "fedrec_tff.checks.aggregator_check_config"),
    *("fedrec_tff.run.display.population_text", "fedrec_tff.run.population"),
    *("experiments.plan_privacy", "experiments.aggregators", "experiments.ledger"),
]


def test_privacy_and_evaluation_do_not_import_tensorflow():
    code = (
        f"import importlib, sys\nfor name in {_MODULES}: importlib.import_module(name)\n"
        "heavy = [name for name in sys.modules if name.startswith('tensorflow')]\n"
        "assert not heavy, heavy[:5]\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr


def test_what_flags_ask_of_mechanisms_waits_for_no_accounting():
    code = (
        "import sys\nfrom fedrec_tff.privacy.mechanisms import kinds\n"
        "heavy = {'dp_accounting', 'scipy', 'pandas', 'tensorflow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert child.returncode == 0, child.stderr
