"""Tests of the made-up titles."""

from fedrec_tff.datasets import titles


def test_titles_differ_even_when_words_run_out():
    series = [number for number in range(5000) for _ in range(3)]
    part = [0, 1, 2] * 5000
    invented = titles.invent_titles(series, part, ["Drama"] * len(series))
    assert len(set(invented)) == len(series)
    assert invented[0] == "Quiet Harbour (Drama)"
    assert invented[1] == "Quiet Harbour 2 (Drama)"


def test_genres_differ():
    names = titles.name_genres(40)
    assert len(set(names)) == 40
    assert names[0] == "Drama"
