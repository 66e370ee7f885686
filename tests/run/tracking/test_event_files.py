import tensorflow as tf

from fedrec_tff.run.tracking import event_files
from tests.run.tracking import events


def _write(folder, steps, kind=event_files.ROUNDS):
    writer = event_files.create_writer(folder, kind)
    with writer.as_default():
        for step in steps:
            tf.summary.scalar("a", float(step), step=step)
    writer.close()


def test_rounds_that_are_computed_again_are_there_once(tmp_path):
    _write(tmp_path, range(1, 9))
    event_files.cut_after(tmp_path, 5)
    assert events.read_scalars(tmp_path) == {"a": [(n, float(n)) for n in range(1, 6)]}
    _write(tmp_path, (6, 7))
    assert [step for step, _ in events.read_scalars(tmp_path)["a"]] == [1, 2, 3, 4, 5, 6, 7]


def test_what_a_crash_has_torn_is_gone(tmp_path):
    _write(tmp_path, range(1, 4))
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"\x20\x00\x00\x00\x00")
    event_files.cut_after(tmp_path, 3)
    assert path.read_bytes()[-5:] != b"\x20\x00\x00\x00\x00"
    assert len(events.read_scalars(tmp_path)["a"]) == 3


def test_texts_of_a_session_that_has_ended_are_written_anew(tmp_path):
    writer = event_files.create_writer(tmp_path, event_files.ROUNDS)
    with writer.as_default():
        tf.summary.text("configuration/constant_metrics", "x", step=2)
        tf.summary.scalar("a", 1.0, step=2)
    writer.close()
    event_files.cut_after(tmp_path, 2)
    assert events.read_texts(tmp_path) == {}
    assert events.read_scalars(tmp_path) == {"a": [(2, 1.0)]}


def test_files_of_another_kind_stay(tmp_path):
    _write(tmp_path, (1, 2), event_files.DESCRIPTION)
    event_files.cut_after(tmp_path, 0)
    assert len(events.read_scalars(tmp_path)["a"]) == 2
    event_files.remove(tmp_path, event_files.DESCRIPTION)
    assert not list(tmp_path.iterdir())
