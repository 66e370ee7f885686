"""Notebooks as pages: their text as it is, their cells of code as blocks; outputs are left out."""

import json


def to_markdown(text: str) -> str:
    """Makes a page of a notebook.

    Args:
      text: The notebook, JSON of nbformat 4.

    Returns:
      Markdown.
    """
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        is_code = cell["cell_type"] == "code"
        parts.append(f"```python\n{source}\n```\n" if is_code else f"{source}\n")
    return "\n".join(parts)
