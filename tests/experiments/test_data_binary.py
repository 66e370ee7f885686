"""The binary that looks at a data set."""

import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.data", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=_ROOT,
        check=False,
    )


def test_a_table_is_described_with_the_command_that_reads_it(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("who,item,when\n1,a,02.12.2020\n1,b,03.12.2020\n2,a,02.12.2020\n")
    told = _run(path, "--user_column=who", "--time_column=when", "--time_format=%d.%m.%Y")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("guessed: --dataset=csv --item_column=item\n3 rows read;")
    assert "from 2020-12-02 to 2020-12-03" in told.stdout
    assert "--user_column=who --time_column=when --time_format=%d.%m.%Y" in told.stdout


def test_a_table_is_prepared_for_runs(tmp_path):
    path, folder = tmp_path / "log.csv", tmp_path / "prepared"
    rows = [f"{user},{item}" for user in range(9) for item in range(4)]
    path.write_text("\n".join(["who,item_id", *rows]))
    told = _run("prepare", path, "--user_column=who", f"--output_dir={folder}")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("36 rows read; 36 interactions kept\n")
    assert f"--dataset=prepared --data_dir={folder}" in told.stdout
    assert (folder / "train.arrow").is_file()


def test_mistakes_are_one_line(tmp_path):
    for arguments, message in (
        ((), "data: name one file, folder, pattern (in quotes) or data set, as: events.csv\n"),
        ((tmp_path / "gone.csv",), f"data: there is no file {tmp_path}/gone.csv: check the path\n"),
        (
            ("x.csv", "--data_dir=y"),
            "data: --data_dir: the place is named without a flag: drop it\n",
        ),
        (
            ("x.csv", "--output_dir=y"),
            "data: --output_dir is for `prepare FILE`: write prepare before x.csv, or drop it\n",
        ),
        (
            ("prepare", "x.csv"),
            "data: prepare needs --output_dir: name a folder for what it writes\n",
        ),
    ):
        told = _run(*arguments)
        assert (told.returncode, told.stdout, told.stderr) == (2, "", message)
