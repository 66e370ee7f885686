import multiprocessing
import os

import pytest

from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.errors import UserError
from fedrec_tff.run.folder import run_directory, whole_files

FLAGS = run_config.to_flags(RunConfig())


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that was begun with the default flags."""
    directory = run_directory.open_run_directory(tmp_path / "run", FLAGS)
    whole_files.write_json(directory.config, {"flags": FLAGS, "derived": {"x": 1.5}})
    return directory


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"rounds": null}', b"\xff\xfe"])
def test_damaged_results_and_configurations_are_named_with_the_way_out(begun, content):
    begun.results.write_bytes(content)
    with pytest.raises(UserError, match=r"results\.json cannot be read .* remove it"):
        run_directory.read_results(begun)
    begun.config.write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json cannot be read .* restore it"):
        run_directory.read_config(begun)


def test_new_folders_are_made_with_their_parents(tmp_path):
    directory = run_directory.open_run_directory(tmp_path / "a" / "b", FLAGS)
    assert directory.root.is_dir()
    assert run_directory.read_config(directory) is None
    assert run_directory.read_results(directory) is None


def test_the_same_flags_go_on(begun):
    again = run_directory.open_run_directory(begun.root, FLAGS)
    assert run_directory.read_config(again) == {"flags": FLAGS, "derived": {"x": 1.5}}


def test_what_a_crash_before_the_configuration_leaves_is_no_obstacle(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / "ids").mkdir()
    (tmp_path / "config.json.partial").write_text("{")
    run_directory.open_run_directory(tmp_path, FLAGS)


def test_other_flags_are_refused_and_every_difference_named(begun):
    changed = {**FLAGS, "rounds": 7, "target_epsilon": 2.0}
    before = begun.config.read_bytes()
    with pytest.raises(UserError) as caught:
        run_directory.open_run_directory(begun.root, changed)
    message = str(caught.value)
    assert "--rounds=7 (there: 200)" in message
    assert "--target_epsilon=2.0 (there: None)" in message
    assert message.count("there:") == 2
    assert "--output_dir" in message
    assert begun.config.read_bytes() == before


def test_a_flag_that_one_version_lacks_is_a_difference(begun):
    with pytest.raises(UserError, match="--new_flag=1"):
        run_directory.open_run_directory(begun.root, {**FLAGS, "new_flag": 1})


def test_a_flag_that_came_later_has_its_default_in_a_run_of_before(begun):
    leeway = run_directory.FlagLeeway(defaults={"new_flag": 1, "rounds": 3})
    run_directory.open_run_directory(begun.root, {**FLAGS, "new_flag": 1}, leeway)
    with pytest.raises(UserError, match=r"--new_flag=2 \(there: 1\)"):
        run_directory.open_run_directory(begun.root, {**FLAGS, "new_flag": 2}, leeway)


@pytest.mark.parametrize("name", ["thesis.tex", "results.json", "metrics.csv"])
def test_folders_with_something_else_are_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        run_directory.open_run_directory(tmp_path, FLAGS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", ["", "[1]", '{"flags": 3}', '{"flags": null}', "{}", "\xff"])
def test_a_foreign_config_file_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"config\.json"):
        run_directory.open_run_directory(tmp_path, FLAGS)
    assert (tmp_path / "config.json").read_text(encoding="latin-1") == content


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", "/proc/no/such"):
        with pytest.raises(UserError, match="--output_dir="):
            run_directory.open_run_directory(path, FLAGS)


def test_other_data_are_refused(begun):
    stored = {"fingerprint": "abc", "features_fingerprint": "def"}
    run_directory.check_data(begun, stored, "abc", "def")
    run_directory.check_data(begun, {"fingerprint": "abc"}, "abc", None)
    for found in (("abd", "def"), ("abc", "deg"), ("abc", None)):
        with pytest.raises(UserError, match="data"):
            run_directory.check_data(begun, stored, *found)


def _hold(root, is_held, may_end):
    with run_directory.lock(run_directory.RunDirectory(root)):
        is_held.set()
        may_end.wait(60)
        # A crash: nothing is released in order.
        os._exit(1)


def test_one_process_at_a_time_and_a_crash_releases(begun):
    context = multiprocessing.get_context("fork")
    is_held, may_end = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(begun.root, is_held, may_end))
    child.start()
    try:
        assert is_held.wait(60)
        with (
            pytest.raises(UserError, match="another process works on"),
            run_directory.lock(begun),
        ):
            raise AssertionError("two processes at once")
    finally:
        may_end.set()
        child.join(60)
    with run_directory.lock(begun):
        pass


def test_a_run_that_began_elsewhere_while_we_waited_for_the_lock_is_refused(tmp_path, monkeypatch):
    """Both processes found an empty folder; the other one was first."""
    lock = run_directory.lock

    def begin_another(directory):
        whole_files.write_json(directory.config, {"flags": {**FLAGS, "rounds": 7}})
        return lock(directory)

    monkeypatch.setattr(run_directory, "lock", begin_another)
    with (
        pytest.raises(UserError, match="another configuration"),
        run_directory.open_locked(tmp_path, FLAGS),
    ):
        raise AssertionError("two runs in one folder")


def test_leftovers_of_a_crash_are_removed_and_nothing_else(begun):
    run_directory.mend_after_crash(begun)
    kept = ["metrics.csv", "privacy_ledger.jsonl", "checkpoints/program_state_3/saved_model.pb"]
    left = [
        *("metrics.csv_temp1234", "checkpoints/program_state_6.partial"),
        "checkpoints/program_state_6_temp77/saved_model.pb",
    ]
    for name in [*kept, *left]:
        path = begun.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("round\n")
    run_directory.mend_after_crash(begun)
    found = {str(path.relative_to(begun.root)) for path in begun.root.rglob("*") if path.is_file()}
    assert found == {"config.json", *kept}
    assert [path.name for path in begun.checkpoints.iterdir()] == ["program_state_3"]
