"""Every block of the docs is run by a test, or checked as far as its flags, or says why not.

A block of commands is given to a shell, whose programs note down how they were called. What calls
a binary of this project is checked by that binary, up to what reads files or trains
(`tests/checked_commands.py`); targets of make, and files, have to be there. All other programs,
and blocks that are no code, need a comment above the block:

  <!-- not run: REASON -->
  <!-- run by: tests/ROOM/test_MODULE.py -->

Python is run by `test_code_of_docs.py`.
"""

import collections
import re

import checked_commands
import doc_blocks
import pytest
from doc_blocks import ROOT, Block

_BLOCKS = doc_blocks.find_blocks()
_WAY_OUT = (
    "put <!-- not run: REASON --> above the block, or <!-- run by: tests/... --> where a test does"
)
_COMMANDS, _PYTHON = ("sh",), ("python",)
_MODULE = "experiments."
# Subcommands of what lint runs.
_RUFF = ("check", "format")
_TARGETS = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split())
# Blocks as they should not be, and what is said of them; and some that are as they should be.
_MADE_UP = {
    "```sh\npython -m experiments.train --rouns=3 --output_dir=x\n```": "rouns",
    "```sh\npython -m experiments.train --rounds=0 --output_dir=x\n```": "--rounds=0",
    "```sh\nfor form in csv pdf; do fedrec compare --format=$form x; done\n```": "--format=pdf",
    "```sh\nfedrec evaluat x\n```": "evaluat",
    "```sh\npython -m experiments.ledger show\n```": "show takes",
    "```sh\npython -m experiments.train --dataset=... --output_dir=x\n```": "--dataset=...",
    "```sh\nmake denmo\n```": "denmo",
    "```sh\npython examples/nowhere.py\n```": "examples/nowhere.py",
    "```sh\npython -m pytest tests/nowhere\n```": "tests/nowhere",
    "```sh\necho 'open\n```": "matching",
    "```sh\nkubectl get pods\n```": "kubectl",
    "```sh\ndocker run x\n```": "docker",
    "```\nOK\n```": "no code",
    "<!-- not run: -->\n```\nOK\n```": "without a reason",
    "<!-- run by: tests/nowhere.py -->\n```\nOK\n```": "tests/nowhere.py",
    "<!-- run by: tests/test_house.py -->\n```\nOK\n```": "names no made_up.md",
    "<!-- not run: it prints this -->\nText.\n```\nOK\n```": "no code",
    "<!-- not run: a -->\n```sh\ndocker run x\nfedrec compare --formt=csv x\n```": "formt",
    "<!-- not run: a -->\n```sh\ndocker run x\nfedrec train --data_dir=... x\n```": None,
    "<!-- not run: it prints this -->\n\n```\nOK\n```": None,
    "```sh\nmake demo  # docker\npython -m pytest tests/privacy -m 'not slow'\n```": None,
    '```sh\nrun() { fedrec compare "$@"; }\nrun a\nrun b --format=csv\n```': None,
}
_MADE_UP_BLOCKS = [doc_blocks.parse("made_up.md", text)[0] for text in _MADE_UP]


def _to_binary(call: list[str]) -> tuple[str, tuple[str, ...]] | None:
    """The binary and its command line; None where another program is called."""
    program, *arguments = call
    program = program.rpartition("/")[2]
    if program == "fedrec" and arguments:
        return arguments[0], tuple(arguments[1:])
    if program == "python" and arguments[:1] == ["-m"] and arguments[1].startswith(_MODULE):
        return arguments[1].removeprefix(_MODULE), tuple(arguments[2:])
    return None


def _judge_other(call: list[str]) -> str | None:
    """What is wrong with a call of what is no binary of this project."""
    program, *arguments = call
    if program == "make":
        unknown = [a for a in arguments if "=" not in a and a not in _TARGETS]
        return f"make has no target {unknown[0]}" if unknown else None
    if program.endswith("python") and arguments[:1] == ["-m"]:
        module, *rest = arguments[1:]
        if module == "pytest":
            missing = [a for a in rest if a.startswith("tests") and not (ROOT / a).exists()]
            return f"there is no {missing[0]}" if missing else None
        if module == "ruff" and rest[0] in _RUFF:
            return None
    elif program.endswith("python") and arguments and arguments[0].endswith(".py"):
        return None if (ROOT / arguments[0]).exists() else f"there is no {arguments[0]}"
    return f"no test runs {' '.join(call[:3])!r}: {_WAY_OUT}"


def _judge_mark(block: Block) -> str | None:
    """What is wrong with the comment above a block."""
    if block.not_run is not None:
        return None if block.not_run else "<!-- not run: --> without a reason: write it there"
    if not (ROOT / block.run_by).is_file():
        return f"there is no {block.run_by}"
    name = block.page.rpartition("/")[2]
    is_named = name in (ROOT / block.run_by).read_text()
    return None if is_named else f"{block.run_by} names no {name}, so it runs nothing of it"


def _judge_calls(block: Block, calls: list[list[str]], refusals: dict) -> list[str]:
    is_marked = block.not_run is not None or block.run_by is not None
    found = []
    for call in calls:
        command = _to_binary(call)
        if command is not None:
            # Three dots stand for what a reader fills in.
            if not (is_marked and any("..." in part for part in call)):
                found.append(refusals[command])
        elif not is_marked:
            found.append(_judge_other(call))
    return [one for one in found if one is not None]


def _judge(blocks: list[Block]) -> list[list[str]]:
    """What is wrong with each block."""
    is_shell = [block.language in _COMMANDS for block in blocks]
    shells = [block for block, is_one in zip(blocks, is_shell, strict=True) if is_one]
    recorded = dict(
        zip(shells, doc_blocks.record_calls([block.text for block in shells]), strict=True)
    )
    refusals = _check([call for calls, _ in recorded.values() for call in calls])
    found = []
    for block in blocks:
        said = []
        if block.not_run is not None or block.run_by is not None:
            said.append(_judge_mark(block))
        elif block.language not in (*_COMMANDS, *_PYTHON):
            said.append(f"a block that is no code: {_WAY_OUT}")
        if block in recorded:
            calls, complaint = recorded[block]
            is_free = block.not_run is not None and "command not found" in complaint
            said.append(None if is_free or not complaint else f"{complaint}: {_WAY_OUT}")
            said += _judge_calls(block, calls, refusals)
        found.append([f"{block.place}: {one}" for one in said if one is not None])
    return found


def _check(calls: list[list[str]]) -> dict[tuple[str, tuple[str, ...]], str | None]:
    commands = collections.defaultdict(dict)
    for binary, arguments in filter(None, map(_to_binary, calls)):
        commands[binary][arguments] = None
    known = {name for name in commands if (ROOT / "experiments" / f"{name}.py").exists()}
    found = checked_commands.check_all({name: list(commands[name]) for name in known})
    return {
        (name, arguments): refusal
        for name, all_arguments in commands.items()
        for arguments, refusal in zip(
            all_arguments,
            found.get(name, [f"there is no binary {name}"] * len(all_arguments)),
            strict=True,
        )
    }


@pytest.fixture(name="judged", scope="module")
def _judged():
    """All at once, since processes are shared."""
    return _judge([*_BLOCKS, *_MADE_UP_BLOCKS])


def test_blocks_are_found():
    assert sum(block.language in _COMMANDS for block in _BLOCKS) > 100
    assert sum(block.language in _PYTHON for block in _BLOCKS) > 10
    fences = sum(
        line.lstrip().startswith("```")
        for page in doc_blocks.find_pages()
        for line in (ROOT / page).read_text().splitlines()
    )
    assert fences == 2 * len(_BLOCKS)


@pytest.mark.parametrize("page", sorted({block.page for block in _BLOCKS}))
def test_blocks_of_a_page_are_run_or_checked_or_say_why_not(page, judged):
    said = [one for found in judged[: len(_BLOCKS)] for one in found]
    assert not [one for one in said if one.startswith(f"{page}:")]


@pytest.mark.parametrize("number", range(len(_MADE_UP)))
def test_what_is_wrong_with_a_block_is_told_in_a_line(number, judged):
    expected, found = list(_MADE_UP.values())[number], judged[len(_BLOCKS) + number]
    if expected is None:
        assert found == []
    else:
        [line] = found
        assert line.startswith("made_up.md:")
        assert expected in line


def test_the_path_from_a_csv_to_a_page_is_five_commands_that_follow_each_other():
    path = "From your own CSV to a page"
    section = (ROOT / "README.md").read_text().split(f"## {path}\n")[1].split("\n## ")[0]
    [block] = [one for one in doc_blocks.parse("README.md", section) if one.language == "sh"]
    [(calls, _)] = doc_blocks.record_calls([block.text])
    commands = [_to_binary(call) for call in calls]
    assert [name for name, _ in commands] == ["data", "train", "train", "report", "playground"]
    look, open_run, private_run, report, page = (list(arguments) for _, arguments in commands)
    assert look[0] == "orders.csv"
    assert all(part.startswith("--") for part in (*look[1:], *open_run, *private_run))
    assert set(look[1:]) < set(open_run)
    assert f"--data_dir={look[0]}" in open_run
    assert set(private_run) - set(open_run) == {
        "--target_epsilon=8",
        "--output_dir=runs/shop-eps8",
    }
    folders = ["runs/shop", "runs/shop-eps8"]
    assert f"--output_dir={folders[0]}" in open_run
    assert report[:2] == page == folders
