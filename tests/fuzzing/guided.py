"""Fuzzing that is led by the code that a case reaches: `make fuzz-guided`.

  python tests/fuzzing/guided.py build/fuzzing 60

A process for each target of `guided_targets.py`, 60 seconds each; what they find is kept below
`build/fuzzing`, where the next call goes on. Needs atheris, whose mutations these are.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

_MEGABYTES, _SECONDS_PER_CASE, _LONGEST = 2048, 20, 4000
_NUM_CASES = re.compile(r"stat::number_of_executed_units: +(\d+)")


def _fuzz(name: str, corpus: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process, with an error if it has found something."""
    import atheris

    with atheris.instrument_imports(include=["fedrec_tff"]):
        from tests.fuzzing import cases, guided_targets

    target = guided_targets.TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / target.file_name

        def read(content: bytes) -> None:
            path.write_bytes(content)
            cases.accepts_or_refuses(lambda: target.read(path))

        atheris.Setup([sys.argv[0], corpus, *options], read)
        atheris.Fuzz()


def _run(name: str, sound: bytes, folder: pathlib.Path, seconds: int) -> bool:
    """Fuzzes a target in a process of its own, and says what came of it."""
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "sound").write_bytes(sound)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-timeout={_SECONDS_PER_CASE}",
        f"-max_len={_LONGEST}",
        f"-artifact_prefix={folder / name}-",
        "-print_final_stats=1",
    ]
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        status = subprocess.call(
            [sys.executable, __file__, "--target", name, str(corpus), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    found = _NUM_CASES.search(log.read_text(errors="replace"))
    num_cases = f"{int(found[1]):,}" if found else "no"
    print(f"{name}: {num_cases} cases, {'all well' if not status else f'FAILED: see {log}'}")
    return status == 0


def main(folder: str, seconds: str) -> None:
    """Fuzzes all targets, one after the other."""
    from tests.fuzzing import guided_targets

    root = pathlib.Path(folder).resolve()
    went_well = [
        _run(name, target.sound, root, int(seconds))
        for name, target in guided_targets.TARGETS.items()
    ]
    sys.exit(0 if all(went_well) else 1)


if __name__ == "__main__":
    if sys.argv[1] == "--target":
        _fuzz(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        main(*sys.argv[1:])
