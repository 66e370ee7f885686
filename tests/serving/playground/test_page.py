"""The page in a browser, by real keys, at the width of a phone, light and dark."""

import base64
import contextlib
import threading
import time

import browser
import pytest
import toy_models

from fedrec_tff.serving.playground import http_server, playground

_KEYS = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "Backspace": 8,
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
}
_DEADLINE_SECONDS = 60.0


@pytest.fixture(name="url", scope="module")
def _url():
    with http_server.PlaygroundServer("127.0.0.1", 0) as server:
        asked = playground.Playground(toy_models.create_models(), seed=1)
        thread = threading.Thread(target=server.serve, args=[asked])
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory):
    with browser.start(tmp_path_factory.mktemp("browser")) as page:
        page.resize(1200)
        yield page


def _wait(page, expression):
    """Waits until an expression is true in the page."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)


def _open(page, url, state=""):
    page.open("about:blank")
    page.open(url + state)
    _wait(page, "document.querySelector('.results').getAttribute('aria-busy') === 'false'")


def _press(page, *keys):
    """Presses keys as a keyboard does: names of keys, or characters."""
    for key in keys:
        code = _KEYS.get(key, ord(key[0].upper()))
        event = {"key": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            event["text"] = "\r"
        elif key not in _KEYS:
            event["text"] = key
        page.call("Input.dispatchKeyEvent", type="keyDown", **event)
        page.call("Input.dispatchKeyEvent", type="keyUp", **event)


def _texts(page, selector):
    return page.evaluate(
        f"[...document.querySelectorAll({selector!r})].map((found) => found.textContent)"
    )


def _focused(page):
    return page.evaluate(
        "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
    )


def _history(page):
    return _texts(page, "#history .title")


def test_a_link_shows_what_the_models_recommend(page, url):
    _open(page, url, "#history=i1,i9&k=5")
    asked = playground.Playground(toy_models.create_models())
    expected = asked.recommend(["i1", "i9"], 5)["lists"]
    shown = page.evaluate(
        "[...document.querySelectorAll('.card > ol')].map((list) => "
        "[...list.querySelectorAll('.title')].map((title) => title.textContent))"
    )
    assert shown == [[item["title"] for item in found["items"]] for found in expected]
    widths = page.evaluate("[...document.querySelectorAll('.fill')].map((bar) => bar.style.width)")
    weights = [item["weight"] for found in expected for item in found["items"]]
    assert [float(width.rstrip("%")) for width in widths] == pytest.approx(
        [100 * weight for weight in weights], abs=1e-3
    )
    assert _texts(page, ".badge") == [toy_models.OPEN.summary, toy_models.PRIVATE.summary]
    assert _texts(page, "details p") == [toy_models.OPEN.statement, toy_models.PRIVATE.statement]
    num_shared = sum(item["places"] != [None] for item in expected[0]["items"])
    assert len(_texts(page, ".shared")) == 2 * num_shared
    assert f"{num_shared} of 5 are in both lists" in page.evaluate("summary.textContent")
    assert page.evaluate("document.title") == "open and private: playground"
    # To itself alone.
    assert page.requests
    assert all(request.startswith(url) for request in page.requests)


def test_an_item_is_found_and_added_by_keys_alone(page, url):
    _open(page, url)
    assert page.evaluate("!empty.hidden && clear.disabled")
    _press(page, "Tab")
    assert _focused(page) == "search"
    _press(page, *"story")
    _wait(page, "document.querySelectorAll('#hits li').length === 3")
    assert _texts(page, "#hits .title") == ["Story", "Toy Story (1995)", "The Story of Us (1999)"]
    assert page.evaluate("search.getAttribute('aria-expanded')") == "true"
    assert page.evaluate("found.textContent") == "3 items found"
    active = "document.getElementById(search.getAttribute('aria-activedescendant')).textContent"
    assert page.evaluate(active) == "StoryDrama"
    _press(page, "ArrowDown")
    assert "Toy Story" in page.evaluate(active)
    _press(page, "ArrowUp", "ArrowUp")
    assert "The Story of Us" in page.evaluate(active)
    assert page.evaluate("document.querySelectorAll('[aria-selected=true]').length") == 1
    _press(page, "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 1")
    assert _history(page) == ["The Story of Us (1999)"]
    assert page.evaluate("location.hash") == "#history=i2&k=10"
    assert page.evaluate("done.textContent") == "The Story of Us (1999) is added."
    assert page.evaluate("search.value") == ""
    assert _focused(page) == "search"
    # Faster than the list can follow.
    _press(page, *"amelie", "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 2")
    assert _history(page) == ["The Story of Us (1999)", "Amélie (2001)"]


def test_escape_closes_the_list_and_then_clears(page, url):
    _open(page, url)
    _press(page, "Tab", *"zzz")
    _wait(page, "more.textContent === 'No item has zzz in its title or as its id.'")
    assert page.evaluate("!popup.hidden")
    assert page.evaluate("search.getAttribute('aria-expanded')") == "false"
    _press(page, "Enter")
    assert _history(page) == []
    _press(page, "Escape")
    assert page.evaluate("popup.hidden && search.value === 'zzz'")
    _press(page, "Escape")
    assert page.evaluate("search.value") == ""


def test_the_history_is_put_in_order_and_emptied_by_keys(page, url):
    _open(page, url, "#history=i5,i6,i7&k=5")
    _press(page, "Tab")
    # The first item has no way up, so the first of its buttons is the way down.
    _press(page, "Tab")
    assert _focused(page) == "Move Film 5 later"
    _press(page, "Enter")
    _wait(page, "document.querySelector('#history .title').textContent === 'Film 6'")
    assert _history(page) == ["Film 6", "Film 5", "Film 7"]
    assert _focused(page) == "Move Film 5 later"
    _press(page, "Tab")
    assert _focused(page) == "Remove Film 5"
    _press(page, "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 2")
    assert _focused(page) == "Remove Film 7"
    _press(page, "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 1")
    _press(page, "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 0")
    assert _focused(page) == "search"
    # Back undoes.
    page.evaluate("history.back()")
    _wait(page, "document.querySelectorAll('#history li').length === 1")
    assert _history(page) == ["Film 6"]


def test_buttons_do_what_they_say(page, url):
    _open(page, url)
    page.evaluate("example.click()")
    _wait(page, "document.querySelectorAll('#history li').length === 5")
    assert "nobody's history" in page.evaluate("done.textContent")
    page.evaluate("document.querySelectorAll('.card .icon')[2].focus()")
    added = _focused(page)
    _press(page, "Enter")
    _wait(page, "document.querySelectorAll('#history li').length === 6")
    assert added == f"Add {_history(page)[-1]} to your history"
    # The third of the list that there is now.
    assert _focused(page) == f"Add {_texts(page, '.card .title')[2]} to your history"
    page.evaluate("k.value = '20'; k.dispatchEvent(new Event('change'))")
    _wait(page, "document.querySelectorAll('.card:first-child li').length === 20")
    assert page.evaluate("location.hash").endswith("&k=20")
    page.evaluate("clear.click()")
    _wait(page, "document.querySelectorAll('#history li').length === 0")
    assert page.evaluate("location.hash") == "#history=&k=20"


def test_titles_are_texts(page, url):
    _open(page, url, "#history=i3,i9&k=5")
    _press(page, "Tab", *"script")
    _wait(page, "document.querySelectorAll('#hits li').length === 1")
    assert _texts(page, "#hits .title") == [toy_models.EVIL]
    assert _history(page)[0] == toy_models.EVIL
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.title") == "open and private: playground"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("#history=gone,i5", "1 item of this link is not in the catalogue, and left out: gone."),
        ("#history=%E0%A4%A,i5", "left out: %E0%A4%A."),
    ],
)
def test_a_broken_link_says_what_is_left_out(page, url, state, said):
    _open(page, url, state)
    assert said in page.evaluate("document.getElementById('notice').textContent")
    assert _history(page) == ["Film 5"]


def test_a_model_says_what_it_does_not_read(page, url):
    _open(page, url, "#history=i1,i5,i6,i7,i8,i9")
    first, second = (
        page.evaluate(f"document.querySelectorAll('.card')[{number}].textContent")
        for number in range(2)
    )
    assert "Reads the newest 4 items alone." in first
    assert "Does not know Amélie (2001)." in second


def test_a_server_that_is_gone_is_said_and_asked_again(page):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(http_server.PlaygroundServer("127.0.0.1", 0))
        asked = playground.Playground(toy_models.create_models()[:1])
        thread = threading.Thread(target=server.serve, args=[asked])
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        _open(page, server.url, "#history=i5")
        assert page.evaluate("document.querySelectorAll('.card').length") == 1
        assert page.evaluate("summary.textContent") == "For 1 item of history."
    page.evaluate("clear.click()")
    _wait(page, "!notice.hidden")
    assert "Is it still running in its terminal?" in page.evaluate("notice.textContent")
    assert page.evaluate("!retry.hidden")


def test_it_fits_a_phone_with_two_models_and_a_title_without_spaces(page, url):
    page.resize(360, 700)
    try:
        _open(page, url, "#history=i3,i5,i6&k=10")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        _press(page, "Tab", *"film")
        _wait(page, "document.querySelectorAll('#hits li').length === 20")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        heights = page.evaluate(
            "[...document.querySelectorAll('button, select, input')]"
            ".filter((one) => one.offsetParent).map((one) => one.offsetHeight)"
        )
        assert min(heights) >= 40
    finally:
        page.resize(1200)


# WCAG 2.1, 1.4.3: relative luminance, and the ratio of two of them.
_CONTRAST = """
(() => {
  const channel = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
  };
  const ratio = (element) => {
    const [one, other] = [parse(getComputedStyle(element).color), ground(element)].map(luminance);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const hasText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.querySelectorAll("body *")]
    .filter((element) => hasText(element) && element.offsetParent && !element.disabled)
    .map((element) => [ratio(element), element.className || element.tagName])
    .filter(([found]) => found < 4.5);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_readable_light_and_dark(page, url, scheme):
    page.emulate(scheme=scheme)
    try:
        _open(page, url, "#history=i1,i5,i6,i7,i8,i9,gone")
        assert page.evaluate("document.querySelectorAll('.shared').length") > 0
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 20, 27)") == (scheme == "dark")
        assert page.evaluate(_CONTRAST) == []
    finally:
        page.emulate()


def test_nothing_moves_for_those_who_asked_for_that(page, url):
    _open(page, url, "#history=i1")
    moving = "getComputedStyle(document.querySelector('.fill')).transitionDuration"
    assert page.evaluate(moving) == "0.25s"
    page.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-reduced-motion", "value": "reduce"}],
    )
    assert page.evaluate(moving) == "0s"
    page.emulate()


def test_everything_that_is_pressed_has_a_name(page, url):
    _open(page, url, "#history=i1,i5")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "listbox", "ComboBoxSelect", "article", "list"}
    found = [node for node in tree if node.get("role", {}).get("value") in roles]
    assert len(found) > 20
    nameless = [node for node in found if not node.get("name", {}).get("value")]
    assert nameless == []


def test_a_picture_of_the_page_is_not_blank(page, url):
    _open(page, url, "#history=i1,i5")
    picture = page.photograph()
    assert picture.startswith(base64.b64decode("iVBORw0KGgo="))
    assert len(picture) > 20_000
