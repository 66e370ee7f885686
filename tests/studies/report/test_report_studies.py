import html
import json
import math
import re

import report_folders

from fedrec_tff.studies.report import page


def _write(tmp_path, *paths):
    output = tmp_path / "report.html"
    page.write(paths, output)
    return html.unescape(output.read_text())


def test_a_sweep_has_its_trials_its_curves_and_its_cost(tmp_path):
    document = _write(tmp_path, report_folders.write_sweep(tmp_path / "grid"))
    assert "Trial 001 is the best of 3 by validation/recall@10: 0.3000, with " in document
    assert "--client_learning_rate=1.5." in document
    assert "test/recall@10 0.3000 ± 0.0141" in document
    rows = re.findall(r'<th scope="row">(\d{3})</th>', document)
    assert rows == ["001", "000", "002"]
    assert "<td>failed</td>" in document
    assert "What the choice costs." in document
    described = re.search(r"<desc[^>]*>(.*?)</desc>", document)[1]
    assert described.startswith("trial 001: from 0.1000 at round 2 to 0.3000 at round 6")
    assert len(re.findall('class="others"', document)) == 2  # one trial, in two widths


def test_a_sweep_whose_trials_nobody_may_see_shows_none(tmp_path):
    sweep = report_folders.write_sweep(tmp_path / "drawn", law="geometric")
    document = _write(tmp_path, sweep)
    assert "its guarantee holds only if no other trial" in document
    assert "--client_learning_rate=1.5" in document
    assert "What the choice costs." in document
    for hidden in ("0.3000", "0.2000", "of 3", "<svg", "test/recall", ">failed<"):
        assert hidden not in document


def test_an_exact_objective_of_private_trials_has_its_star(tmp_path):
    sweep = report_folders.write_sweep(
        tmp_path / "grid", objective="non_private/validation/recall@10"
    )
    document = _write(tmp_path, sweep)
    assert "0.3000 ± 0.0100*" in document
    assert "not covered by epsilon" in document


def test_a_sweep_without_a_finished_trial_says_so(tmp_path):
    sweep = report_folders.write_sweep(tmp_path / "grid")
    contents = json.loads((sweep / "sweep.json").read_text())
    contents |= {"trials": contents["trials"][2:], "best": None}
    (sweep / "sweep.json").write_text(json.dumps(contents))
    assert "No trial was finished." in _write(tmp_path, sweep)


def test_a_robustness_study_is_a_heat_table(tmp_path):
    document = _write(tmp_path, report_folders.write_robustness(tmp_path / "study"))
    cells = re.findall(r'<td class="heat h(\d+)">([^<]*)</td>', document)
    assert cells[:4] == [
        ("0", "0.2000 (100%)"),
        ("9", "0.0200 (10%)"),
        ("1", "0.1800 (90%)"),
        ("2", "0.1600 (80%)"),
    ]
    assert cells[4:] == [("2", "25%")] * 4
    assert "not covered by epsilon" not in document


def test_cells_of_private_runs_have_stars_and_their_epsilon(tmp_path):
    study = report_folders.write_robustness(tmp_path / "study", is_private=True)
    document = _write(tmp_path, study)
    assert "0.0200* (10%)" in document
    assert "25%*" in document
    assert "not covered by epsilon" in document
    assert "mean: epsilon 3.001 for each of its runs." in document


def test_a_target_that_holds_markup_is_text(tmp_path):
    report_folders.write_robustness(tmp_path / "study")
    page.write([tmp_path / "study"], tmp_path / "report.html")
    assert "<bdi>&lt;b&gt;7</bdi>" in (tmp_path / "report.html").read_text()


def test_an_audit_has_what_it_proved_beside_the_claim(tmp_path):
    sound = report_folders.write_audit(tmp_path / "<b>sound")
    broken = report_folders.write_audit(tmp_path / "broken", lower_bound=9.0)
    plain = report_folders.write_audit(tmp_path / "plain", claimed=math.inf)
    insecure = report_folders.write_audit(
        tmp_path / "insecure", departing={"has_deterministic_noise": True}
    )
    output = tmp_path / "report.html"
    page.write([sound, broken, plain, insecure], output)
    document = output.read_text()
    # A bound that was proved is never rounded up, and a claim never down.
    assert [row[1:] for row in _read_rows(document)[1:]] == [
        ["canary", "0.171*", "8.000 at delta 1e-05", "5.900*", "95%"],
        ["canary", "9.000*", "8.000 at delta 1e-05", "5.900*", "95%"],
        ["canary", "0.171", "nothing", "5.900", "95%"],
        ["canary", "0.171*", "8.000 (insecure) at delta 1e-05", "5.900*", "95%"],
    ]
    assert "<bdi>&lt;b&gt;sound</bdi>" in document
    assert document.count('class="statement warn"') == 1
    assert "VIOLATION: the run does not keep what it claims." in document
    assert "1 of 1 direct checks of the mechanism passed." in document
    # What an audit finds is exact.
    assert output.stat().st_mode & 0o077 == 0


def _read_rows(document):
    return [
        [
            html.unescape(re.sub(r"<[^>]*>", "", cell))
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row)
        ]
        for row in re.findall(r"<tr>.*?</tr>", document)
    ]


def test_an_evaluation_is_told_by_user_and_by_group(tmp_path):
    report_folders.write_evaluation(tmp_path / "judged")
    page.write([tmp_path / "judged"], tmp_path / "report.html")
    document = (tmp_path / "report.html").read_text()
    rows = _read_rows(document)
    assert ["recall@10", "0.1667 (0.1567 to 0.1767)", "0.1100* (0.1000 to 0.1200)"] in rows
    assert ["coverage@10", "0.4000", "0.4000*"] in rows
    assert ["mrr", "-", "-"] in rows
    assert not [row for row in rows if "recall@50" in row]
    assert ["recall@10", "-0.0567* (-0.0700 to -0.0400)", "34.0%*", "< 0.001"] in rows
    assert ["coverage@10", "-0.0567* (-0.0700 to -0.0400)", "", "< 0.001"] in rows
    old = ["<b>old", "200*", "0.2000 (0.1800 to 0.2200)", "0.1500* (0.1300 to 0.1700)"]
    assert [*old, "25.0%*"] in rows
    heats = re.findall(r'<td class="heat h(\d+)">([^<]*)</td>', document)
    assert heats == [("2", "25.0%*"), ("7", "70.0%*")]
    text = html.unescape(re.sub(r"<[^>]*>", "", document))
    assert "<i>other: 300 users*, 50 items; epsilon 8.000 at delta 1e-05." in text
    assert "<i>other less plain, on 290 users of both" in text
    assert "the worst group, new, gets 20%* of what the best, <b>old, gets." in text
    assert ["Gini of users' recall@10", "0.8760", "0.8760*"] in rows
    assert "paired by user" in text
    assert "not covered by epsilon" in text
    assert (tmp_path / "report.html").stat().st_mode & 0o077 == 0


def test_an_evaluation_without_private_runs_has_no_stars(tmp_path):
    document = _write(tmp_path, report_folders.write_evaluation(tmp_path / "judged", False))
    assert "0.1100 (0.1000 to 0.1200)" in document
    assert "*" not in document[document.index("<body>") :]
