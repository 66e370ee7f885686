from fedrec_tff.run.tracking import markdown


def test_no_value_breaks_out_of_its_cell():
    values = ("a|b", "x`y", "two\nlines", ["b", "c"], 0.123456789, None, "", (), True)
    assert list(map(markdown.write, values)) == [
        *("`a/b`", "`x'y`", "`two lines`", "`b c`", "`0.123457`", "-", "-", "-", "`True`")
    ]
    assert markdown.create_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
