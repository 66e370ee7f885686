"""What MkDocs asks while it builds the site: pages from outside of docs/, and their links.

`extra.source_view` in mkdocs.yml is the address under which the repository shows a file by its
path; without one, links to source files become paths.
"""

import importlib.util
import pathlib
from typing import Any

from mkdocs.structure.files import File

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _load(name: str) -> Any:
    """A module beside this one: MkDocs loads hooks by path, in no package."""
    spec = importlib.util.spec_from_file_location(
        name, pathlib.Path(__file__).parent / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_LINKS, _NOTEBOOKS = _load("links"), _load("notebooks")
_SOURCES = {place: source for source, place in _LINKS.PAGES.items()}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that stand outside of docs/."""
    for place, source in _SOURCES.items():
        text = (_ROOT / source).read_text()
        content = _NOTEBOOKS.to_markdown(text) if source.endswith(".ipynb") else text
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrites the links of a page."""
    place = page.file.src_uri
    source = _SOURCES.get(place, f"docs/{place}")
    return _LINKS.rewrite(markdown, source, place, config.extra.get("source_view"))
