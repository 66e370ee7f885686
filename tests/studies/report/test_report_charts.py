import itertools
import re
from xml.etree import ElementTree

import pytest

from fedrec_tff.studies.report import bars, charts
from fedrec_tff.studies.report.bars import Bar, BarGroup
from fedrec_tff.studies.report.charts import Chart, Level, Series


def _read(chart):
    """The wide and the narrow picture of a figure."""
    figure = ElementTree.fromstring(charts.figure(chart, "f"))
    return figure, figure.findall("div/svg")


def _create(**changes):
    series = (
        Series("one", 0, [0, 50, 100], [0.0, 0.1, 0.2], [0.0, 0.05, 0.15], [0.0, 0.15, 0.25]),
        Series("two <b>", 1, [0, 100], [0.1, 0.05]),
    )
    chart = {
        "title": "Title",
        "description": "In words",
        "x_title": "rounds",
        "y_title": "recall",
        "series": series,
        "levels": (Level("popularity", 7, 0.1),),
    }
    return Chart(**{**chart, **changes})


def _read_points(path):
    return [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", path)]


def test_bars_have_lengths_names_and_words():
    groups = [
        BarGroup("one", 0, [Bar("down", 10.0, "10.00 MB"), Bar("up", 2.5, "2.50 MB")]),
        BarGroup("two <b>", 1, [Bar("down", 5.0, "5.00 MB"), Bar("up", None, "withheld")]),
    ]
    figure = ElementTree.fromstring(bars.figure("Title", groups, "Below.", "f"))
    assert figure.find("figcaption").text == "Below."
    for picture in figure.findall("div/svg"):
        assert picture.find("desc").text == (
            "one: down 10.00 MB, up 2.50 MB. two <b>: down 5.00 MB, up withheld."
        )
        lengths = [float(rect.get("width")) for rect in picture.iter("rect")]
        shares = [length / lengths[0] for length in lengths]
        assert shares == pytest.approx([1.0, 0.25, 0.5, 0.0], abs=0.01)
        width, height = map(float, picture.get("viewBox").split()[2:])
        for text in picture.iter("text"):
            assert float(text.get("y")) < height
        ends = [float(rect.get("x")) + float(rect.get("width")) for rect in picture.iter("rect")]
        assert max(ends) + 6 + len("10.00 MB") * 7 < width


def test_a_picture_has_a_title_a_description_and_an_alternative_text():
    figure, pictures = _read(_create())
    assert figure.get("id") == "f"
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.get("role") == "img"
        named = picture.get("aria-labelledby").split()
        texts = {one.get("id"): one.text for one in picture if one.tag in ("title", "desc")}
        assert [texts[name] for name in named] == ["Title", "In words"]
    identifiers = [one.get("id") for one in figure.iter() if one.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_points_are_where_the_axes_say():
    _, (wide, _) = _read(_create())
    ticks = {t.text: float(t.get("x")) for t in wide.findall("text[@text-anchor='middle']")}
    heights = {t.text: float(t.get("y")) - 4 for t in wide.findall("text[@text-anchor='end']")[:-1]}
    line = next(p for p in wide.iter("path") if p.get("class") == "line")
    points = _read_points(line.get("d"))
    assert points[0] == pytest.approx((ticks["0"], heights["0.00"]), abs=0.1)
    assert points[2] == pytest.approx((ticks["100"], heights["0.20"]), abs=0.1)
    middle = ((ticks["0"] + ticks["100"]) / 2, heights["0.10"])
    assert points[1] == pytest.approx(middle, abs=0.1)
    band = next(p for p in wide.iter("path") if p.get("class") == "band")
    corners = _read_points(band.get("d"))
    # Up along the upper ends, back along the lower.
    expected = [("0", "0.00"), None, ("100", "0.25"), ("100", "0.15"), None, ("0", "0.00")]
    for corner, place in zip(corners, expected, strict=True):
        if place is not None:
            assert corner == pytest.approx((ticks[place[0]], heights[place[1]]), abs=0.1)


def test_series_differ_by_more_than_their_colour():
    series = [Series(f"s{i}", i, [0, 1], [0.1, 0.2 + 0.01 * i]) for i in range(7)]
    _, (wide, narrow) = _read(_create(series=series))
    for picture in (wide, narrow):
        groups = [g for g in picture.findall("g") if g.find("path[@class='line']") is not None]
        looks = {
            (
                g.find("path[@class='line']").get("stroke-dasharray"),
                g.find("path[@class='mark']").get("d"),
            )
            for g in groups
        }
        assert len(looks) == len(groups) == 7
        assert len({dash for dash, _ in looks}) == 7


@pytest.mark.parametrize("last", [0.0, 0.1, 0.2])
def test_names_stand_at_the_ends_without_overlap_or_in_a_key(last):
    series = [Series(f"name {i}", i, [0, 1], [0.2, last]) for i in range(6)]
    _, (wide, narrow) = _read(_create(series=series, levels=()))
    for picture, size in ((wide, None), (narrow, 328.0)):
        names = [t for t in picture.iter("text") if t.get("class").startswith("name")]
        assert {t.text for t in names} == {one.name for one in series}
        heights = sorted(float(t.get("y")) for t in names)
        assert all(b - a >= 14 for a, b in itertools.pairwise(heights))
        width, height = map(float, picture.get("viewBox").split()[2:])
        assert size in (None, width)
        assert heights[-1] < height
        if picture is wide:
            # Above the axis and its ticks.
            assert heights[-1] <= 300 - 46 + 4
        for text in names:
            assert float(text.get("x")) + 6 * len(text.text) < width


def test_names_stand_where_their_lines_end():
    series = [Series("early", 0, [0, 1], [0.1, 0.2]), Series("late", 1, [0, 9], [0.1, 0.21])]
    _, (wide, _) = _read(_create(series=series, levels=()))
    ends = {}
    for group in wide.findall("g"):
        line = group.find("path[@class='line']")
        if line is not None:
            ends[group.get("class")] = _read_points(line.get("d"))[-1]
    for group in wide.findall("g"):
        text = group.find("text")
        if text is not None:
            x, y = ends[group.get("class")]
            place = (float(text.get("x")), float(text.get("y")) - 4)
            # Far from each other, so that both are beside their ends though their heights are near.
            assert place == pytest.approx((x + 9, y), abs=0.2)


def test_many_points_have_few_markers_and_the_last_has_one():
    series = [Series("long", 0, range(1, 501), [0.1 + i / 1000 for i in range(500)])]
    _, (wide, _) = _read(_create(series=series, levels=()))
    marks = [p for p in wide.iter("path") if p.get("class") == "mark"]
    assert 5 <= len(marks) <= 9
    line = next(p for p in wide.iter("path") if p.get("class") == "line")
    ends = [_read_points(mark.get("transform"))[0] for mark in marks]
    assert _read_points(line.get("d"))[-1] in ends


def test_a_single_point_and_points_with_bars_are_drawn():
    series = [Series("p", 2, [8.0], [0.1], [0.05], [0.2], is_joined=False, is_hollow=True)]
    _, (wide, _) = _read(_create(series=series, levels=()))
    assert [p.get("class") for p in wide.iter("path")] == ["mark hollow"]
    assert len([one for one in wide.iter("line") if one.get("class") == "span"]) == 1
    assert not any("nan" in ElementTree.tostring(one, "unicode") for one in wide)


def test_what_is_shown_is_said():
    text = charts.describe([Series("a", 0, [1, 2, 3], [0.1, 0.3, 0.2])], "round")
    assert text == ("a: from 0.1000 at round 1 to 0.2000 at round 3, highest 0.3000 at round 2.")
    assert charts.describe([Series("a", 0, [8.0], [0.1])], "epsilon") == ("a: 0.1000 at epsilon 8.")
