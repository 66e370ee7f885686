"""The binary as its users meet it."""

import binaries


def test_mistakes_are_told_in_a_line(tmp_path):
    (tmp_path / "folder").mkdir()
    for arguments, message in [
        ([], "name the folder of one finished run"),
        ([str(tmp_path / "folder"), "--methods=prunne"], "did you mean prune"),
        ([str(tmp_path / "folder"), "--formats=tflite"], "means nothing without --output_dir"),
        ([str(tmp_path / "folder")], "holds no run"),
    ]:
        child = binaries.run("compress", *arguments)
        assert child.returncode == 2
        assert message in child.stderr
        assert len(child.stderr.splitlines()) == 1
