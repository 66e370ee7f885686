"""The page as a browser shows it: on a desk, on a phone, in the dark, on paper."""

import re

import browser
import pytest
import report_folders

from fedrec_tff.studies.report import page, style

_PHONE, _DESK = 360, 1300
_NAME = "a-run-with-a-name-that-does-not-fit-on-any-phone-" * 2


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A report on a bit of everything, in a browser."""
    root = tmp_path_factory.mktemp("report")
    paths = report_folders.write_seeds(root, "plain", [0.2, 0.21, 0.25])
    paths += [
        report_folders.write_run(root / f"eps{e}", epsilon=float(e), target_epsilon=float(e))
        for e in (2, 8)
    ]
    paths += [
        report_folders.write_run(root / f"{_NAME}", fingerprint="g", rounds=9),
        report_folders.write_run(root / "begun", is_finished=False, rounds=600),
        report_folders.write_run(root / "<img src=http://example.org/x>", rounds=12),
        report_folders.write_baselines(root / "central", {"ease": 0.1}),
        report_folders.write_sweep(root / "grid"),
        report_folders.write_robustness(root / "study"),
        report_folders.write_evaluation(root / "judged"),
        report_folders.write_audit(root / "audited"),
    ]
    output = root / "report.html"
    page.write(paths, output)
    with browser.start(root / "browser") as opened:
        opened.open(output.as_uri())
        yield opened


@pytest.mark.parametrize("width", [_PHONE, 500, 800, _DESK])
def test_the_page_is_never_wider_than_the_window(shown, width):
    shown.emulate()
    shown.resize(width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("document.documentElement.clientWidth") == width
    # What is too wide scrolls in a box of its own.
    wide = shown.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.box') && "
        f"e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


@pytest.mark.parametrize(("width", "is_phone"), [(_PHONE, True), (_DESK, False)])
def test_one_of_two_pictures_is_shown_and_its_texts_can_be_read(shown, width, is_phone):
    shown.emulate()
    shown.resize(width)
    for name, is_shown in (("narrow", is_phone), ("wide", not is_phone)):
        heights = shown.evaluate(
            f"[...document.querySelectorAll('figure .{name}')].map(e => e.offsetHeight)"
        )
        assert len(heights) >= 4
        assert all((height > 100) == is_shown for height in heights)
    size = shown.evaluate(
        "Math.min(...[...document.querySelectorAll('figure svg text')]"
        ".map(e => e.getBoundingClientRect().height).filter(h => h > 0))"
    )
    assert size >= 11
    if is_phone:
        assert shown.evaluate(
            "[...document.querySelectorAll('.box')].some(e => e.scrollWidth > e.clientWidth)"
        )


@pytest.mark.parametrize("width", [_PHONE, _DESK])
def test_bars_are_as_long_as_what_they_show(shown, width):
    shown.emulate()
    shown.resize(width)
    bars = shown.evaluate(
        "[...document.querySelectorAll('#cost-bytes rect')].map(e => e.getBoundingClientRect())"
        ".filter(r => r.height > 0).map(r => r.width)"
    )
    # A run without privacy sends 10 MB down and 4 MB up; private ones do not tell the second.
    assert bars[1] / bars[0] == pytest.approx(0.4, abs=0.02)
    assert 0.0 in bars
    assert shown.evaluate("document.querySelector('#audits .box').offsetHeight") > 20


def test_names_of_lines_are_inside_of_their_pictures(shown):
    shown.emulate()
    for width in (_PHONE, _DESK):
        shown.resize(width)
        outside = shown.evaluate(
            "[...document.querySelectorAll('figure svg text')].filter(e => e.closest('svg')"
            ".getBoundingClientRect().right + 1 < e.getBoundingClientRect().right)"
            ".map(e => e.textContent)"
        )
        assert outside == []


@pytest.mark.parametrize(("scheme", "index"), [("light", 0), ("dark", 1)])
def test_colours_are_those_of_the_scheme(shown, scheme, index):
    root = re.findall(r":root \{(.*?)\}", style.read(), re.DOTALL)[index]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", root))
    shown.emulate(scheme=scheme)
    for expression, name in (
        ("getComputedStyle(document.body).backgroundColor", "paper"),
        ("getComputedStyle(document.body).color", "ink"),
        ("getComputedStyle(document.querySelector('svg .s0 .line')).stroke", "s0"),
        ("getComputedStyle(document.querySelector('svg .tick')).fill", "faint"),
    ):
        channels = [int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]
        assert shown.evaluate(expression) == f"rgb({', '.join(map(str, channels))})", name


def test_paper_is_light_and_has_the_wide_pictures(shown):
    shown.emulate(media="print", scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert shown.evaluate("document.querySelector('nav').offsetHeight") == 0
    assert shown.evaluate("document.querySelector('figure .narrow').offsetHeight") == 0
    shown.emulate(media="")
    assert shown.print().startswith(b"%PDF-")


def test_nothing_is_asked_for_but_the_file_and_nothing_was_run(shown):
    shown.emulate()
    asked = [address for address in shown.requests if not address.startswith("data:")]
    assert len(asked) == 1
    assert asked[0].startswith("file://")
    assert shown.evaluate("document.images.length + document.scripts.length") == 0


def test_pictures_have_names_for_whoever_does_not_see_them(shown):
    named = shown.evaluate(
        "[...document.querySelectorAll('svg')].map(e => e.getAttribute('aria-labelledby')"
        ".split(' ').map(id => document.getElementById(id).textContent.length))"
    )
    assert all(title > 10 and description > 20 for title, description in named)
    assert shown.evaluate("document.documentElement.lang") == "en"
    headings = shown.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")
    assert headings.count("H1") == 1
