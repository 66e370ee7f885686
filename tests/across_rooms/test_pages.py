"""Pages of the docs: each link and anchor leads somewhere, each page is in the navigation.

`make docs` builds the site and is strict about the same; this is fast, and needs no MkDocs.
"""

import functools
import importlib.util
import json
import pathlib
import posixpath
import re
import tomllib

import pytest
import yaml

import fedrec_tff

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DOCS = sorted((_ROOT / "docs").rglob("*.md"))
_AROUND = [_ROOT / name for name in ("README.md", "BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md")]
_NOTEBOOKS = sorted((_ROOT / "examples" / "notebooks").glob("*.ipynb"))
_PAGES = [str(path.relative_to(_ROOT)) for path in (*_AROUND, *_DOCS, *_NOTEBOOKS)]
_LINK = re.compile(r"\[(?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_IDENTIFIER = re.compile(r"^::: (\S+)$", re.MULTILINE)


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_LINKS = _load(_ROOT / "docs" / "site" / "links.py")
_TO_MARKDOWN = _load(_ROOT / "docs" / "site" / "notebooks.py").to_markdown


class _Loader(yaml.SafeLoader):
    """MkDocs' own tags name functions, which are not called here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


@functools.cache
def _read_site():
    return yaml.load((_ROOT / "mkdocs.yml").read_text(), _Loader)


@functools.cache
def _read_prose(page):
    """A page without its blocks of code."""
    text = (_ROOT / page).read_text()
    text = _TO_MARKDOWN(text) if page.endswith(".ipynb") else text
    return _LINKS.outside_fences(text, lambda part: part, lambda block: "")


@functools.cache
def _find_anchors(page):
    """Anchors of the headings, as a code host makes them."""
    anchors, seen = set(), {}
    for heading in _HEADING.findall(_read_prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


def _find_in_navigation(entries):
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            (inner,) = entry.values()
            yield from [inner] if isinstance(inner, str) else _find_in_navigation(inner)


@pytest.mark.parametrize("page", _PAGES)
def test_links_lead_somewhere(page):
    for address in _LINK.findall(_read_prose(page)):
        if re.match(r"[a-z]+:", address):
            continue
        target, _, anchor = address.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        place = path if target else page
        assert not place.startswith(".."), address
        assert (_ROOT / place).exists(), address
        if anchor:
            assert place in _PAGES, f"{address}: an anchor of what is no page"
            assert anchor in _find_anchors(place), address


def test_links_are_found():
    assert sum(len(_LINK.findall(_read_prose(page))) for page in _PAGES) > 250


def test_every_page_is_in_the_navigation_once():
    found = list(_find_in_navigation(_read_site()["nav"]))
    in_docs = [str(path.relative_to(_ROOT / "docs")) for path in _DOCS]
    assert sorted(found) == sorted([*in_docs, *_LINKS.PAGES.values()])


def test_what_the_site_is_made_of_is_there():
    site = _read_site()
    assert site["strict"]
    assert site["theme"]["font"] is False
    assert site["docs_dir"] == "docs"
    assert site["site_dir"].startswith("build/")
    for path in (*site["hooks"], *(f"docs/{style}" for style in site["extra_css"])):
        assert (_ROOT / path).exists(), path


def test_pages_from_outside_have_names_that_no_other_page_has():
    in_docs = {str(path.relative_to(_ROOT / "docs")) for path in _DOCS}
    assert in_docs.isdisjoint(_LINKS.PAGES.values())
    assert all((_ROOT / name).exists() for name in _LINKS.PAGES)


@pytest.mark.parametrize("page", [page for page in _PAGES if page.startswith("docs/reference/")])
def test_what_the_reference_names_is_there(page):
    for identifier in _IDENTIFIER.findall((_ROOT / page).read_text()):
        parts = identifier.split(".")
        if parts[0] == "fedrec_tff" and len(parts) == 2:
            assert parts[1] in fedrec_tff.__all__
        else:
            path = _ROOT.joinpath(*parts)
            assert path.is_dir() or path.with_suffix(".py").exists(), identifier


def test_the_changelog_begins_with_this_version():
    headings = re.findall(r"^## \[?([^\]\s]+)", (_ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert fedrec_tff.__version__ in headings[:2]


def test_decisions_are_numbered_in_a_row_and_listed():
    folder = _ROOT / "docs" / "decisions"
    names = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (folder / "index.md").read_text())
    assert listed == names


@pytest.mark.parametrize("name", ["docs", "mutation"])
def test_locks_beside_the_lock_have_hashes_and_no_address(name):
    text = _read(f"requirements-{name}.txt")
    pins = re.findall(r"^[a-z0-9._-]+(?:\[[a-z]+\])?==\S+", text, re.MULTILINE)
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    asked = re.findall(r"^([a-z-]+)(?:\[[a-z]+\])?==(\S+)$", _read(f"requirements-{name}.in"), re.M)
    assert {f"{package}=={version}" for package, version in asked} <= set(pins)


def _read(name):
    return (_ROOT / name).read_text()


def test_the_site_is_no_part_of_a_wheel():
    settings = tomllib.loads(_read("pyproject.toml"))["tool"]["setuptools"]
    assert settings["packages"]["find"]["include"] == ["fedrec_tff*", "experiments*"]


def test_a_notebook_becomes_a_page():
    cells = [
        {"cell_type": "markdown", "source": ["# T\n", "[b](b.md)"]},
        {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": [{"text": "1"}]},
    ]
    page = _TO_MARKDOWN(json.dumps({"cells": cells}))
    assert page == "# T\n[b](b.md)\n\n```python\nx = 1\nx\n```\n"


def test_every_notebook_is_a_page():
    names = {str(path.relative_to(_ROOT)) for path in _NOTEBOOKS}
    assert names == {name for name in _LINKS.PAGES if name.endswith(".ipynb")}


@pytest.mark.parametrize(
    ("source", "place", "link", "without", "with_view"),
    [
        ("docs/a.md", "a.md", "[b](b.md#c)", "[b](b.md#c)", "[b](b.md#c)"),
        ("docs/a.md", "a.md", "[R](../README.md#x)", "[R](index.md#x)", "[R](index.md#x)"),
        ("README.md", "index.md", "[B](BUILD.md)", "[B](building.md)", "[B](building.md)"),
        ("README.md", "index.md", "![p](docs/images/p.png)", "![p](images/p.png)", None),
        ("docs/c/a.md", "c/a.md", "[b](../b.md)", "[b](../b.md)", None),
        ("docs/c/a.md", "c/a.md", "[R](../../README.md)", "[R](../index.md)", None),
        (
            "docs/a.md",
            "a.md",
            "[`grid.py`](../fedrec_tff/privacy/grid.py)",
            "`fedrec_tff/privacy/grid.py`",
            "[`grid.py`](https://h/blob/fedrec_tff/privacy/grid.py)",
        ),
        (
            "docs/a.md",
            "a.md",
            "[each file](../fedrec_tff/x)",
            "each file (`fedrec_tff/x`)",
            "[each file](https://h/blob/fedrec_tff/x)",
        ),
        ("docs/a.md", "a.md", "[h](https://h/x)", "[h](https://h/x)", "[h](https://h/x)"),
        ("docs/a.md", "a.md", "[s](#here)", "[s](#here)", "[s](#here)"),
    ],
)
def test_links_are_rewritten_for_the_site(source, place, link, without, with_view):
    assert _LINKS.rewrite(link, source, place, None) == without
    assert _LINKS.rewrite(link, source, place, "https://h/blob/") == (with_view or without)


def test_blocks_of_code_are_left_alone():
    text = "[b](../x.py)\n```md\n[b](../x.py)\n```\n[b](../x.py)\n"
    assert _LINKS.rewrite(text, "docs/a.md", "a.md", None) == (
        "b (`x.py`)\n```md\n[b](../x.py)\n```\nb (`x.py`)\n"
    )
