"""`--help` and mistyped flags, of binaries that share flags and of those that don't."""

import re
import subprocess
import sys

import binaries
import pytest

from fedrec_tff.config import data_config, field_spec, run_config

_FIRST = "The flags that matter most"
_OWN = "Flags of this program alone"
_LEADING = field_spec.find_names(run_config.RunConfig, lambda spec: spec.is_leading)
# A topic whose flags are all among those that matter most is shown there.
_TOPICS = [
    title
    for title, topic in run_config.TOPICS.items()
    if set(field_spec.read_specs(topic)) - set(_LEADING)
]


def _read_groups(text):
    """The flags' names by heading, in the order in which they are printed."""
    groups = {}
    for line in text.splitlines():
        if (heading := re.fullmatch(r"(\S.*):", line)) is not None:
            names = groups.setdefault(heading[1], [])
        elif (flag := re.match(r"  --(?:\[no\])?(\w+):", line)) is not None:
            names.append(flag[1])
    return {heading: names for heading, names in groups.items() if names}


@pytest.fixture(scope="module")
def shown():
    found = binaries.run("train", "--help")
    assert found.returncode == 0
    assert found.stderr == ""
    return found.stdout


def test_flags_of_a_run_are_shown_once_by_topic_the_ten_that_matter_first(shown):
    groups = _read_groups(shown)
    assert list(groups) == [_FIRST, *_TOPICS]
    assert groups.pop(_FIRST) == ["output_dir", *_LEADING]
    for title, names in groups.items():
        topic = field_spec.read_specs(run_config.TOPICS[title])
        assert names == [name for name in topic if name not in _LEADING]


def test_help_says_what_is_required_and_what_is_taken_by_default(shown):
    text = " ".join(shown.split())
    assert "--output_dir: Folder of the run's results; made if missing. (required)" in text
    assert "--rounds: Rounds of training. (default 200)" in text
    assert f"(one of {', '.join(data_config.DATASETS)}; default synthetic)" in text
    assert "lists them. (may be repeated)" in text
    assert "age_group,gender,occupation. (a list, by commas)" in text
    # Lines fit a terminal.
    assert max(map(len, shown.splitlines())) <= 100


def test_other_binaries_show_their_own_flags_and_those_they_share():
    groups = _read_groups(binaries.run("sweep", "--help").stdout)
    assert list(groups) == [_FIRST, _OWN, *_TOPICS]
    assert {"sweep", "search", "objective"} < set(groups[_OWN])
    groups = _read_groups(binaries.run("baselines", "--help").stdout)
    assert groups["A budget over several runs"][0] == "population_ledger"
    assert "ials_dim" in groups[_OWN]
    assert list(_read_groups(binaries.run("ledger", "--help").stdout)) == ["Flags"]


def test_a_flag_that_only_has_the_name_of_a_run_s_is_the_program_s_own():
    groups = _read_groups(binaries.run("anonymize", "--help").stdout)
    assert "insecure_deterministic_noise" in groups[_OWN]
    assert "Differential privacy" not in groups


def test_help_waits_for_nothing_heavy():
    code = (
        "import sys\n"
        "from experiments import train\n"
        "from experiments.command_line import help_text\n"
        "text = help_text.write(train.__doc__, 'experiments.train')\n"
        "assert '--clip_norm' in text\n"
        "heavy = {'tensorflow', 'tensorflow_federated', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=binaries.ROOT
    )
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("flag", ["--helpfull", "--helpshort", "-?"])
def test_every_help_ends_well(flag):
    found = binaries.run("train", flag)
    assert found.returncode == 0
    assert "--clip_norm" in found.stdout


@pytest.mark.parametrize("binary", ["train", "sweep", "ledger"])
def test_a_mistyped_flag_is_told_in_a_line_like_any_other_mistake(binary):
    found = binaries.run(binary, "--hlep")
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"{binary}: Unknown command line flag 'hlep'. Did you mean: help")
    assert line.endswith("?")


@pytest.mark.parametrize(
    ("binary", "flags", "said"),
    [
        ("train", [], "--output_dir is required: add --output_dir=..."),
        (
            "plan_privacy",
            [],
            "--num_users is required: add --num_users=...; "
            "--num_items is required: add --num_items=...",
        ),
        (
            "train",
            ["--split=none"],
            "--split=none: value should be one of "
            "<leave_last_out|unseen_users|global_time|published>",
        ),
        (
            "train",
            ["--rounds=many"],
            "--rounds=many: invalid literal for int() with base 10: 'many'",
        ),
        ("train", ["--rounds"], "Missing value for flag --rounds"),
    ],
)
def test_what_absl_refuses_is_told_as_all_else_is(binary, flags, said):
    found = binaries.run(binary, *flags)
    assert found.returncode == 2
    assert found.stderr == f"{binary}: {said}\n"
    assert found.stdout == ""


def test_a_flagfile_is_read(tmp_path):
    flagfile = tmp_path / "best.flags"
    flagfile.write_text("--rounds=0\n# No run.\n--output_dir=never\n")
    found = binaries.run("train", f"--flagfile={flagfile}")
    assert found.returncode == 2
    assert found.stderr == "train: --rounds=0: must be at least 1\n"


def test_nobody_has_to_read_to_the_end():
    found = subprocess.run(
        f"{sys.executable} -m experiments.train --help | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=binaries.ROOT,
    )
    assert found.stdout.startswith("Trains a federated")
    assert found.stderr == ""
