import re

import pytest

from fedrec_tff.studies.report import style

_ROOTS = re.findall(r":root \{(.*?)\}", style.read(), re.DOTALL)
_LIGHT, _DARK = (dict(re.findall(r"--(\w+): (#\w{6});", root)) for root in _ROOTS)


def _luminance(colour):
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _mix(one, other, share):
    parts = [
        round(share * int(one[i : i + 2], 16) + (1 - share) * int(other[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)


def test_contrast_is_that_of_the_standard():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", [_LIGHT, _DARK])
def test_texts_and_lines_stand_out_from_their_ground(colours):
    names = ["ink", "faint", "link", "warn", *(f"s{i}" for i in range(style.NUM_SERIES))]
    for name in names:
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
    assert _contrast(colours["ink"], colours["panel"]) >= 4.5
    # The hottest cell.
    hot = _mix(colours["heat"], colours["paper"], 0.45)
    assert _contrast(colours["ink"], hot) >= 4.5


def test_both_schemes_define_all_that_is_used():
    text = style.read()
    assert set(_LIGHT) == set(_DARK)
    assert set(re.findall(r"var\(--(\w+)\)", text)) - {"line", "share"} == set(_LIGHT)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert not re.search(r"url\(|@import|http", text)


def test_every_class_that_is_counted_is_there():
    text = style.read()
    for index in range(style.NUM_SERIES):
        assert f".s{index} {{ --line: var(--s{index}); }}" in text
    shares = [float(s) for s in re.findall(r"\.h\d+ \{ --share: ([\d.]+)%; \}", text)]
    assert len(shares) == style.MOST_HEAT + 1
    assert max(shares) == 45.0
