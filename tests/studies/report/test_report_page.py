import html
import json
import re
import stat
from html import parser

import dp_accounting
import pytest
import report_folders

from fedrec_tff import errors
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.report import page


def _write(tmp_path, *paths, name="report.html"):
    output = tmp_path / name
    page.write(paths, output)
    return output.read_text()


def _read_text(document):
    """What a reader sees, with a blank at the end of each element."""
    body = document[document.index("<body>") :]
    body = re.sub(r"<(title|desc)[^>]*>.*?</\1>", "", body)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def _strip(markup):
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def _read_rows(document, caption):
    """The rows of the table that is so called."""
    for table in re.findall(r'<figure class="table">.*?</figure>', document):
        if caption in _strip(table.split("</figcaption>")[0]):
            return [
                [_strip(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
                for row in re.findall(r"<tr>.*?</tr>", table)
            ]
    raise AssertionError(caption)


def _rewrite(folder, change):
    path = folder / "results.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_the_answer_names_the_best_and_its_privacy(tmp_path):
    plain = report_folders.write_seeds(tmp_path, "plain", [0.2, 0.22, 0.21])
    private = report_folders.write_run(tmp_path / "eps8", epsilon=7.9991, validation=0.2)
    text = _read_text(_write(tmp_path, *plain, private))
    assert "Report on plain and eps8" in text
    best = "plain is best by validation: recall@10 0.2600, mean of 3 seeds."
    assert f"Of 2 kinds of runs {best}" in text
    assert "It has no differential privacy: it promises its users nothing." in text
    assert "The best with a guarantee is eps8 : recall@10 0.2000*, one seed." in text
    assert "It is (8.000, 1e-05)-differentially private for each user" in text
    assert "the choice is not covered by any epsilon" in text
    assert report_folders.PRIVATE in text
    assert report_folders.PLAIN in text
    assert "simpler is better" not in text


@pytest.mark.parametrize(
    ("departing", "said", "cell"),
    [
        ({"simulates_deployment": True}, "simulated epsilon", "none (simulated: 8.000)"),
        ({"has_deterministic_noise": True}, "insecure epsilon", "none (insecure: 8.000)"),
    ],
)
def test_an_epsilon_that_is_nobodys_is_called_so_wherever_it_stands(
    tmp_path, departing, said, cell
):
    run = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, departing=departing)
    document = _write(tmp_path, run)
    text = _read_text(document)
    assert f"It has no guarantee: 8.000 is its {said}, which is nobody's." in text
    assert "is (8.000" not in text
    assert [row[2] for row in _read_rows(document, "Test metrics") if row[0] == "eps8"] == [cell]
    assert f"eps8 ({said.split()[0]})" in text
    assert "Hollow markers" in text
    assert "voided by" in text


def test_exact_statistics_of_private_runs_keep_their_star(tmp_path):
    private = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, test=0.2)
    plain = report_folders.write_run(tmp_path / "plain", test=0.21)
    document = _write(tmp_path, private, plain)
    rows = {row[0]: row for row in _read_rows(document, "Test metrics")}
    assert rows["eps8"][3:] == ["0.2500*", *["0.2000*"] * 5]
    assert rows["plain"][3:] == ["0.2500", *["0.2100"] * 5]
    assert metric_names.FOOTNOTE in _read_text(document)
    assert re.search(r">eps8\*</text>", document)
    costs = {row[0]: row for row in _read_rows(document, "Communication")}
    # Upload is of the cohort, and was not released.
    assert costs["eps8"][1:] == ["6", "10.00", "-", "-", "61*", "321*"]
    assert costs["plain"][1:] == ["6", "10.00", "4.00", "0.08", "61", "321"]
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == 0o600
    alone = _write(tmp_path, plain, name="plain.html")
    assert metric_names.FOOTNOTE not in alone
    assert stat.S_IMODE((tmp_path / "plain.html").stat().st_mode) & 0o077


def test_what_is_withheld_does_not_appear(tmp_path):
    run = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, test=0.1234)
    _rewrite(run, lambda r: {k: v for k, v in r.items() if not k.startswith("non_private/")})
    (run / "metrics.csv").write_text(
        "round,privacy/epsilon,private/recall@10,private/recall@10_low,private/recall@10_high\n"
        "2,4.0,0.111,0.0,0.2\n6,8.0,0.157,0.1,0.2\n"
    )
    ends = {"private/recall@10_low": 0.1, "private/recall@10_high": 0.2}
    _rewrite(run, lambda r: {**r, "private/recall@10": 0.157, **ends})
    document = _write(tmp_path, run)
    text = _read_text(document)
    assert "0.1234" not in document
    told = "recall@10 0.1570, one seed, released with noise (95 % interval 0.1000 to 0.2000)"
    assert f"eps8 has {told}." in text
    # Beside an exact value it is shown, and not ranked.
    other = report_folders.write_run(tmp_path / "other", epsilon=8.0, validation=0.1, rounds=9)
    beside = _write(tmp_path, run, other, name="beside.html")
    text_beside = _read_text(beside)
    assert "other has recall@10 0.1000*, one seed. It is (8.000" in text_beside
    assert f"eps8 has {told}, and is not ranked" in text_beside
    rows = {row[0]: row for row in _read_rows(beside, "Test metrics")}
    assert rows["eps8"][3:] == ["0.1570 (noised)", *["-"] * 5]
    assert "eps8 (noised)" in text
    assert "the 95 % interval that was released with it" in text
    assert "no exact test metrics" in text
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) & 0o077


def test_exact_counts_of_a_private_run_and_fingerprints_stay_where_they_are(tmp_path):
    run = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, fingerprint="feedbeef")
    document = _write(tmp_path, run)
    assert "1234567" not in document.replace(",", "")
    assert "feedbeef" not in document
    assert "6,040 training users of the data, 3,883 items of the data" in document


def test_what_was_asked_is_told_with_its_command_and_versions(tmp_path):
    runs = report_folders.write_seeds(tmp_path, "long", [0.2, 0.3], embedding_dim=96)
    text = _read_text(_write(tmp_path, *runs))
    assert "--embedding_dim=96" in text
    assert "for seed in 0 1; do python -m experiments.train" in text
    assert "--output_dir=runs/long-$seed; done" in text
    assert "Revision abcdef" in text
    assert "tensorflow 2.14.1" in text


def test_differences_are_tested_over_seeds(tmp_path):
    one = report_folders.write_seeds(tmp_path, "one", [0.30, 0.34, 0.29])
    two = report_folders.write_seeds(tmp_path, "two", [0.20, 0.22, 0.21], 0.1, rounds=9)
    single = report_folders.write_run(tmp_path / "single", rounds=11, validation=0.1)
    document = _write(tmp_path, *one, *two, single)
    header, *rows = _read_rows(document, "less that of one")
    assert header[1:] == ["test", "difference", "95 % interval", "p (Holm)", ""]
    found = {row[0]: row[1:] for row in rows}
    # By hand: differences -0.10, -0.12, -0.08; t = -0.1 / (0.02 / sqrt(3)) = -8.66, two degrees
    # of freedom: p = 0.0131; Holm over two tests, of which the other, of popularity at half of
    # what each run has, has differences -0.15, -0.17, -0.145 and p = 0.0024.
    assert found["two"] == [
        "paired t-test, 3 seeds",
        "-0.1000",
        "-0.1497 to -0.0503",
        "0.013",
        "significant",
    ]
    assert found["popularity"][3] == "0.005"
    assert found["single"][0] == "too few seeds in common"
    assert "whether another seed would show the same, not whether other users would" in document


def test_simpler_references_that_are_better_are_named_and_drawn(tmp_path):
    run = report_folders.write_run(tmp_path / "run", validation=0.2)
    reference = {"seconds": 1.0, "test": {}, "validation": {}}
    for part, value in (("test", 0.3), ("validation", 0.25)):
        reference[part] = dict.fromkeys(report_folders.METRICS, value)
    _rewrite(run, lambda r: {**r, "references": {"ease": reference}})
    document = _write(tmp_path, run)
    text = _read_text(document)
    assert "What is simpler is better: by validation ease has 0.2500." in text
    assert re.search(r">ease</text>", document)
    assert re.search(r">popularity</text>", document)


def test_baselines_stand_beside_runs_and_alone(tmp_path):
    baselines = report_folders.write_baselines(tmp_path / "central", {"ease": 0.15})
    run = report_folders.write_run(tmp_path / "run")
    rows = _read_rows(_write(tmp_path, run, baselines), "Test metrics")
    assert [row[0] for row in rows[1:]] == ["popularity", "run", "central: ease"]
    alone = _read_text(_write(tmp_path, baselines))
    assert "no run to hold against them" in alone
    assert "python -m experiments.baselines" in alone


def test_epsilons_are_drawn_against_quality_where_there_are_several(tmp_path):
    paths = [
        report_folders.write_run(tmp_path / f"eps{e}", epsilon=e, test=0.01 * e, target_epsilon=e)
        for e in (2.0, 8.0)
    ]
    plain = report_folders.write_run(tmp_path / "plain")
    document = _write(tmp_path, *paths, plain)
    assert "Test recall@10 of the released models against epsilon" in document
    described = re.findall(r"<desc[^>]*>(.*?)</desc>", document)
    assert "eps2.0*: 0.0200 at epsilon 2. eps8.0*: 0.0800 at epsilon 8." in described
    assert ">eps2.0*</text>" in document
    assert "plain, no privacy" in document
    assert "against epsilon" not in _write(tmp_path, paths[0], plain)


def test_a_number_that_is_no_guarantee_has_a_hollow_marker(tmp_path):
    paths = [
        report_folders.write_run(
            tmp_path / f"eps{epsilon}", epsilon=epsilon, target_epsilon=epsilon, departing=departing
        )
        for epsilon, departing in ((2.0, {"simulates_deployment": True}), (8.0, {}))
    ]
    document = _write(tmp_path, *paths)
    figure = document[document.index('<figure id="quality-1-epsilon-1">') :]
    wide = figure[: figure.index("</svg>")]
    groups = re.findall(r'<g class="s(\d)">(.*?)</g>', wide)
    looks = {number: "mark hollow" in group for number, group in groups if "mark" in group}
    assert looks == {"0": True, "1": False}


def test_more_kinds_than_can_be_told_apart_are_grey_and_said_to_be(tmp_path):
    for e in range(1, 10):
        report_folders.write_run(tmp_path / f"eps{e}", epsilon=float(e), target_epsilon=float(e))
    document = _write(tmp_path, tmp_path)
    rounds = document[document.index('<figure id="quality-1-rounds">') :]
    wide = rounds[: rounds.index("</svg>")]
    assert wide.count('class="others"') == 2
    assert "Grey and without a name" in document
    assert "are in the table alone" in document
    assert {f"eps{e}" for e in range(1, 10)} <= {r[0] for r in _read_rows(document, "Test metrics")}


def test_other_data_are_side_by_side_and_not_ranked(tmp_path):
    one = report_folders.write_run(tmp_path / "one", validation=0.1)
    two = report_folders.write_run(tmp_path / "two", validation=0.3, fingerprint="g")
    text = _read_text(_write(tmp_path, one, two))
    assert "These runs are of different data" in text
    assert "best by validation" not in text
    assert "On ml-1m, leave_last_out (1): one has recall@10 0.1000" in text
    assert "On ml-1m, leave_last_out (2): two has recall@10 0.3000" in text
    assert "less that of" not in text


def test_an_unfinished_run_shows_what_it_has_and_is_not_ranked(tmp_path):
    done = report_folders.write_run(tmp_path / "done", validation=0.2)
    begun = report_folders.write_run(
        tmp_path / "begun", validation=0.9, is_finished=False, rounds=600
    )
    document = _write(tmp_path, done, begun)
    text = _read_text(document)
    assert "begun is not finished" in text
    assert "done has recall@10 0.2000" in text
    assert "6 of 600: not finished" in text
    assert "begun (unfinished)" in text
    assert all(row[0] != "begun" for row in _read_rows(document, "Test metrics"))
    alone = _read_text(_write(tmp_path, begun))
    assert "No run is finished yet" in alone
    private = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, is_finished=False)
    assert "no ledger tells what it has spent" in _read_text(_write(tmp_path, private))


def test_the_ledger_of_an_unfinished_run_tells_what_it_has_spent(tmp_path):
    run = report_folders.write_run(tmp_path / "eps8", epsilon=8.0, is_finished=False)
    report_folders.write_ledger(run, rounds=40)
    text = _read_text(_write(tmp_path, run))
    # The same events, accounted here: not what `metrics.csv` says of some round.
    event = dp_accounting.PoissonSampledDpEvent(60 / 6040, dp_accounting.GaussianDpEvent(1.0))
    epsilon = dp_accounting.pld.PLDAccountant().compose(event, 40).get_epsilon(1e-5)
    told = float(re.search(r"until round 40, an epsilon of ([\d.]+) at delta=1e-05", text)[1])
    assert epsilon - 1e-6 <= told <= epsilon + 0.0011


def test_epsilons_about_other_neighbours_are_in_other_charts(tmp_path):
    for number, (name, law) in enumerate((("one", "poisson"), ("two", "fixed_size"))):
        run = report_folders.write_run(tmp_path / name, epsilon=8.0, target_epsilon=number + 1.0)
        report_folders.write_ledger(run, 1, law)
    described = re.findall(r"<desc[^>]*>(.*?)</desc>", _write(tmp_path, tmp_path))
    by_epsilon = [text for text in described if "at epsilon" in text]
    assert len(by_epsilon) == 4  # two charts, in two widths
    assert not [text for text in by_epsilon if "one" in text and "two" in text]


class _Tags(parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_a_hostile_name_is_text(tmp_path):
    name = "<img src=x onerror=alert(1)>\"'&<script>"
    run = report_folders.write_run(tmp_path / name, model_param=["a=<script>alert(2)</script>"])
    begun = report_folders.write_run(tmp_path / f"{name}2", is_finished=False, rounds=9)
    document = _write(tmp_path, run, begun)
    found = _Tags(document).tags
    assert not {"img", "script", "iframe"} & {tag for tag, _ in found}
    assert not [key for _, attributes in found for key in attributes if key.startswith("on")]
    assert name in _read_text(document)
    assert "<script>alert(2)</script>" in _read_text(document)


def test_a_page_asks_for_nothing_and_runs_nothing(tmp_path):
    run = report_folders.write_run(tmp_path / "run")
    found = _Tags(_write(tmp_path, run)).tags
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in found}
    fetched = [a.get("src") or a.get("href") for _, a in found if "src" in a or "href" in a]
    assert all(address.startswith(("#", "data:,")) for address in fetched)
    identifiers = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {a[1:] for a in fetched if a.startswith("#")} <= set(identifiers)
    (policy,) = [a["content"] for _, a in found if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_the_same_folders_make_the_same_bytes(tmp_path):
    runs = report_folders.write_seeds(tmp_path, "run", [0.1, 0.2], epsilon=8.0)
    first = _write(tmp_path, *runs)
    assert _write(tmp_path, *reversed(runs), name="again.html") == first


def test_only_a_report_is_replaced(tmp_path):
    run = report_folders.write_run(tmp_path / "run")
    output = tmp_path / "report.html"
    page.write([run], output)
    page.write([run], output)
    output.write_text("<html>mine</html>")
    with pytest.raises(errors.UserError, match="is no report"):
        page.write([run], output)
    assert output.read_text() == "<html>mine</html>"
    with pytest.raises(errors.UserError, match="is a folder"):
        page.write([run], tmp_path)
    with pytest.raises(errors.UserError, match="there is no folder"):
        page.write([run], tmp_path / "missing" / "report.html")


def test_two_runs_of_the_same_seed_are_refused(tmp_path):
    one = report_folders.write_run(tmp_path / "one")
    two = report_folders.write_run(tmp_path / "two")
    with pytest.raises(errors.UserError, match="count twice"):
        page.write([one, two], tmp_path / "report.html")
