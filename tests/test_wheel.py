"""The wheel of BUILD.md: what is in it, and that it works outside of the checkout with `fedrec`.

It is built of a copy, so that nothing is left in the checkout, and installed without its
requirements into an environment of its own, which finds these in the one of the lock.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pandas as pd
import pytest

import fedrec_tff

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "requirements.in", "fedrec_tff")
_PIP = (
    *("-m", "pip", "--disable-pip-version-check", "--quiet"),
    *("--no-cache-dir", "--no-input"),
)
_SMALL = (
    *("--preset=basic", "--synthetic_users=60", "--embedding_dim=4", "--clients_per_round=10"),
    *("--rounds=1", "--execution=debug", "--target_epsilon=8"),
)
# What runs in a folder where nothing is of the project, and tells where things are.
_PLACES = """
import importlib.resources, json
import experiments.train, fedrec_tff
from fedrec_tff.config import preset_config
from fedrec_tff.serving.playground import http_server
from fedrec_tff.studies.report import page
folders = (fedrec_tff, experiments.train, preset_config, http_server, page)
print(json.dumps([module.__file__ for module in folders]))
"""

pytestmark = pytest.mark.slow


def _run(*command, folder, **options):
    # Nothing of the checkout may be found by chance.
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory):
    sources = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*_SOURCES, "experiments"):
        if (_ROOT / name).is_dir():
            shutil.copytree(_ROOT / name, sources / name, ignore=ignored)
        else:
            shutil.copy(_ROOT / name, sources / name)
    options = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir=out", ".")
    _run(sys.executable, *_PIP, *options, folder=sources)
    [path] = (sources / "out").glob("*.whl")
    return path


@pytest.fixture(name="installed", scope="module")
def _installed(wheel, tmp_path_factory):
    """The programs of an environment with the wheel, and a folder that is not the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "env"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    # A line of a .pth file is a folder behind those that are there; its own .pth files, that of
    # the editable install among them, are not read.
    path = environment / "lib" / version / "site-packages" / "lock.pth"
    path.write_text(f"{sysconfig.get_path('purelib')}\n")
    options = ("install", "--no-deps", "--no-index", "--ignore-installed")
    # By the environment's own interpreter, which is then that of its programs.
    _run(environment / "bin" / "python", *_PIP, *options, wheel, folder=folder)
    work = folder / "work"
    work.mkdir()
    return environment / "bin", work


def _list_modules(package):
    return {str(path.relative_to(_ROOT)) for path in (_ROOT / package).rglob("*.py")}


def test_a_wheel_holds_every_module_and_file_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = archive.read(metadata).decode()
        programs = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    ours = {name for name in names if ".dist-info/" not in name}
    assert {name for name in ours if name.endswith(".py")} == {
        *_list_modules("fedrec_tff"),
        *_list_modules("experiments"),
    }
    files = {"fedrec_tff/py.typed", "fedrec_tff/config/presets/ml-1m.cfg"}
    assert files <= ours
    assert any(re.fullmatch(r"fedrec_tff/studies/report/\w+\.css", name) for name in ours)
    assert any(name.startswith("fedrec_tff/serving/playground/page.") for name in ours)
    assert any(name.endswith("/LICENSE") for name in names)
    assert f"\nVersion: {fedrec_tff.__version__}\n" in about
    assert "License: Apache-2.0" in about
    assert "Requires-Dist: tensorflow-federated" in about
    assert "fedrec = experiments.__main__:main" in programs


def test_what_is_imported_elsewhere_is_the_copy_of_the_wheel(installed):
    programs, work = installed
    places = _run(programs / "python", "-c", _PLACES, folder=work)
    assert places.count(str(programs.parent / "lib")) == 5


def test_the_command_lists_the_binaries_and_tells_their_flags(installed):
    programs, work = installed
    assert (programs / "fedrec").read_text().startswith(f"#!{programs / 'python'}\n")
    assert "plan_privacy" in _run(programs / "fedrec", "--help", folder=work)
    assert "--target_epsilon" in _run(programs / "fedrec", "train", "--help", folder=work)
    assert "dp_gaussian" in _run(programs / "fedrec", "aggregators", "list", folder=work)


@pytest.fixture(name="trained", scope="module")
def _trained(installed):
    programs, work = installed
    text = _run(programs / "fedrec", "train", *_SMALL, "--output_dir=runs/mine", folder=work)
    return programs, work, text


def test_a_run_trains_elsewhere_and_claims_no_commit(trained):
    _, work, text = trained
    assert "differential privacy" in text
    results = pd.read_json(work / "runs" / "mine" / "results.json", typ="series")
    assert results["epsilon"] <= 8
    assert results["git_revision"] is None


def test_a_named_preset_is_there(installed):
    programs, work = installed
    code = (
        "from fedrec_tff.run.preset import named; "
        "print(len(named.read('ml-1m')), len(named.read('ml-100k-eps8')))"
    )
    counts = _run(programs / "python", "-c", code, folder=work).split()
    assert min(map(int, counts)) > 3


def test_what_has_files_beside_its_modules_works_elsewhere(trained):
    programs, work, _ = trained
    fedrec = programs / "fedrec"
    _run(fedrec, "report", "runs/mine", "--output=page.html", folder=work)
    assert "<style>" in (work / "page.html").read_text()
    _run(fedrec, "export", "runs/mine", "--output_dir=exports", "--formats=", folder=work)
    table = _run(fedrec, "recommend", "exports", "--history=1;2", "--k=3", folder=work)
    assert len(table.splitlines()) >= 3
    code = (
        "import pathlib; from fedrec_tff.serving.playground import http_server as server; "
        "folder = pathlib.Path(server.__file__).parent; "
        "print(sorted(path.name for path in folder.glob('page.*')))"
    )
    ours = (_ROOT / "fedrec_tff" / "serving" / "playground").glob("page.*")
    found = _run(programs / "python", "-c", code, folder=work)
    assert found.strip() == str(sorted(path.name for path in ours))


def test_the_library_trains_a_table_elsewhere(installed):
    programs, work = installed
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(0, 30, 400), "item": rng.integers(0, 20, 400)}
    pd.DataFrame({**rows, "time": np.arange(400)}).to_csv(work / "events.csv", index=False)
    code = (
        "import fedrec_tff; run = fedrec_tff.train('events.csv', user_column='user', "
        "item_column='item', time_column='time', preset='basic', rounds=1, clients_per_round=5, "
        "embedding_dim=4, execution='debug', output_dir='runs/table'); "
        "print(len(run.recommend(['3'], k=4)))"
    )
    assert _run(programs / "python", "-c", code, folder=work).split()[-1] == "4"
