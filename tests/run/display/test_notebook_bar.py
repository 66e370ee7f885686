"""The bar of a notebook, against a stand-in for IPython, which the lock does not have."""

import asyncio
import sys
import types

import pytest

from fedrec_tff.run.display import notebook_bar


class _Page:
    """What a cell shows."""

    def __init__(self):
        self.shown = []

    def display(self, drawn, display_id):
        assert display_id
        self.shown.append(drawn)
        return self

    def update(self, drawn):
        self.shown[-1] = drawn


@pytest.fixture(name="page")
def _page(monkeypatch):
    page = _Page()
    display = types.SimpleNamespace(HTML=str, display=page.display)
    ipython = types.ModuleType("IPython")
    ipython.display = display
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return page


def test_there_is_none_in_scripts_or_in_a_shell(page):
    assert notebook_bar.create(10, 0) is not None
    sys.modules["IPython"].get_ipython = lambda: types.SimpleNamespace()
    assert notebook_bar.create(10, 0) is None
    sys.modules["IPython"].get_ipython = lambda: None
    assert notebook_bar.create(10, 0) is None
    del sys.modules["IPython"]
    assert notebook_bar.create(10, 0) is None


def test_one_bar_is_drawn_anew_and_text_is_no_markup(page):
    bar = notebook_bar.create(10, 3)
    bar.show("starting")
    assert 'value="3" max="10"' in page.shown[0]
    bar.show("loss <b>", 4)
    assert len(page.shown) == 1
    assert 'value="4" max="10"' in page.shown[0]
    assert "round 4/10" in page.shown[0]
    assert "loss &lt;b&gt;" in page.shown[0]


def test_a_run_shows_the_bar_and_no_lines(page, capfd):
    from fedrec_tff.run.display import progress

    capfd.readouterr()
    with progress.ProgressReleaseManager(2, 1, 10.0, 10) as shown:
        assert "starting" in page.shown[0]
        asyncio.run(shown.release({"train/loss": 0.5, "validation/recall@10": 0.25}, 1))
        assert "round 1/2" in page.shown[0]
        assert "recall@10 0.25" in page.shown[0]
        asyncio.run(shown.release({}, 2))
    assert "round 2/2" in page.shown[0]
    assert len(page.shown) == 1
    assert capfd.readouterr() == ("", "")
