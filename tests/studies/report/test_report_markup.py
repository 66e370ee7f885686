from html import parser

import pytest

from fedrec_tff.studies.report import markup

_HOSTILE = "<script>alert(1)</script>\"' onload=x &amp; \x00\x1b\ud800"


class _Reader(parser.HTMLParser):
    """Tags, attributes and text as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_text_is_text_wherever_it_stands():
    shown = "<script>alert(1)</script>\"' onload=x &amp; \ufffd\ufffd?"
    found = _Reader(markup.element("p", _HOSTILE, title=_HOSTILE))
    assert found.tags == ["p"]
    assert found.attributes == [("title", shown)]
    assert found.text == shown


def test_markup_is_kept_and_not_escaped_again():
    inner = markup.element("b", "a < b")
    assert markup.element("p", inner, " & c") == "<p><b>a &lt; b</b> &amp; c</p>"
    assert markup.escape(markup.escape("<")) == "&lt;"
    assert markup.escape(inner + " < " + inner) == f"{inner} &lt; {inner}"


def test_attributes_have_the_names_of_html():
    found = markup.element("td", "", class_="number", aria_label="x", style=None)
    assert found == '<td class="number" aria-label="x"></td>'
    assert markup.element("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_names_and_commands_break_where_they_can_be_read():
    assert markup.breakable("a<b/c@10") == "a&lt;b/<wbr>c@10"
    found = _Reader(markup.command("python --x=<y> --z"))
    assert found.text == "python --x=<y> --z"
    assert found.tags == ["pre", "code", "span", "span", "span"]


@pytest.mark.parametrize("caption", ["a <b>", markup.join(["a ", markup.name("<b>")])])
def test_a_table_has_headers_and_a_box_with_its_caption(caption):
    found = _Reader(
        markup.table(["", "n"], [["x", "1"], ["y", markup.element("td", "2")]], caption)
    )
    assert found.tags[:2] == ["figure", "figcaption"]
    assert found.attributes.count(("aria-label", "a <b>")) == 2
    assert found.attributes.count(("scope", "row")) == 2
    assert found.attributes.count(("scope", "col")) == 2
    assert found.text.endswith("nx1y2")
