"""Links of the docs, for a site: a page of the repository that is part of it, a file that is not.

Pages are written for whoever reads them in the repository, where `../README.md` and
`../fedrec_tff/privacy/grid.py` are files beside them. In the site the first is a page with
another address, and the second is none: it becomes a link to the repository's source view, or,
where no address of a repository is configured, a plain path.
"""

import posixpath
import re
from collections.abc import Callable

# Pages that stand outside of docs/, and their names in the site.
PAGES = {
    "README.md": "index.md",
    "BUILD.md": "building.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/notebooks/first_private_recommender.ipynb": "notebooks/first_private_recommender.md",
    "examples/notebooks/write_an_aggregator.ipynb": "notebooks/write_an_aggregator.md",
}
_DOCS = "docs"
_FENCE = re.compile(r"^( *)(```+|~~~+)")
# Text may hold code with brackets; images are links with a mark before them.
_LINK = re.compile(r"(!?)\[((?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*)\]\(([^()\s]+(?:\([^()]*\))?)\)")
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:")


def outside_fences(
    text: str,
    change: Callable[[str], str],
    change_block: Callable[[str], str] = lambda block: block,
) -> str:
    """Changes what stands outside of fenced blocks of code, in runs of whole lines.

    Args:
      text: Markdown.
      change: From such a run to what replaces it.
      change_block: From a line of a block, or of its fence, to what replaces it.

    Returns:
      The Markdown, with blocks of code as they were.
    """
    parts, run, fence = [], [], None
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if fence is None and found is None:
            run.append(line)
            continue
        if fence is None:
            parts.append(change("".join(run)))
            run, fence = [], found[2]
        elif found and found[2].startswith(fence) and not line.strip().strip(fence[0]):
            fence = None
        parts.append(change_block(line))
    return "".join([*parts, change("".join(run))])


def rewrite(text: str, source: str, place: str, source_view: str | None) -> str:
    """Rewrites the relative links of a page.

    Args:
      text: The page's Markdown.
      source: Its path in the repository, as `docs/privacy.md`.
      place: Its path in the site, as `privacy.md`.
      source_view: Address under which the repository shows a file by its path, or None.

    Returns:
      The Markdown with links that work in the site.
    """

    def replace(found: re.Match) -> str:
        mark, label, address = found.groups()
        target, hash_sign, anchor = address.partition("#")
        if not target or _SCHEME.match(target) or target.startswith("/"):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        in_site = PAGES.get(path)
        if in_site is None and path.startswith(f"{_DOCS}/"):
            in_site = path.removeprefix(f"{_DOCS}/")
        if in_site is not None:
            near = posixpath.relpath(in_site, posixpath.dirname(place) or ".")
            return f"{mark}[{label}]({near}{hash_sign}{anchor})"
        if source_view:
            return f"{mark}[{label}]({source_view.rstrip('/')}/{path}{hash_sign}{anchor})"
        return _name_path(label, path)

    return outside_fences(text, lambda part: _LINK.sub(replace, part))


def _name_path(label: str, path: str) -> str:
    """A path in place of a link: once, where the label is an end of it."""
    bare = label.strip("`").rstrip("/")
    return f"`{path}`" if path.endswith(bare) else f"{label} (`{path}`)"
