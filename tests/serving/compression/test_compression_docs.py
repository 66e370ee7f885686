"""The table of methods in docs/compression.md, against the builders' own signatures."""

import pathlib

from fedrec_tff.plugins import signatures
from fedrec_tff.serving.compression import catalogue, chain

_PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "compression.md"


def _write(parameter):
    default = parameter.default
    written = "none" if default is None else f"{default}"
    return f"`{parameter.name}={written.lower() if isinstance(default, bool) else written}`"


def test_the_table_has_all_methods_with_their_parameters_and_defaults():
    _, _, section = _PAGE.read_text().partition("## The methods\n")
    table, _, _ = section.partition("\n## ")
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {name.strip("`"): parameters for name, parameters, *_ in cells}
    expected = {}
    for name, builder in catalogue.METHODS.items():
        parameters = signatures.read_signature(builder, chain.FLAG).parameters.values()
        expected[name] = " ".join(map(_write, parameters))
    assert found == expected
