import pytest

from fedrec_tff import errors
from fedrec_tff.run.folder import metrics_file, run_directory


@pytest.mark.parametrize("content", ["rounc,loss\n1,0.5\n", "round,loss\nx,0.5\n"])
def test_damage_is_named_with_the_way_out(tmp_path, content):
    directory = run_directory.RunDirectory(tmp_path)
    assert metrics_file.read_last_round(directory) == 0
    directory.metrics.write_text("round,loss\n1,0.5\n2,0.25\n")
    assert metrics_file.read_last_round(directory) == 2
    directory.metrics.write_text(content)
    with pytest.raises(errors.UserError, match=r"metrics\.csv is damaged: restore it, or remove"):
        metrics_file.read_last_round(directory)


def test_what_is_told_in_one_line_already_is_told_so(tmp_path):
    with (
        pytest.raises(errors.UserError, match="something else"),
        metrics_file.name_damage(run_directory.RunDirectory(tmp_path)),
    ):
        raise errors.UserError("something else")
