import dataclasses
import re

from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.tracking import cards, description, event_files
from tests.run.tracking import events

FLAGS = run_config.to_flags(
    dataclasses.replace(RunConfig(), target_epsilon=8.0, embedding_dim=8, list_lengths=("5", "10"))
)
DERIVED = {"aggregator": "dp_gaussian", "noise_multiplier": 1.5, "catalogue": "data"}


def test_only_what_differs_from_the_defaults_tells_runs_apart():
    found = description.find_changed_flags(FLAGS, DERIVED)
    assert found == {
        "target_epsilon": 8.0,
        "aggregator": "dp_gaussian",
        "noise_multiplier": 1.5,
        "embedding_dim": 8,
        "list_lengths": ["5", "10"],
    }
    assert list(found)[-1] == "list_lengths"
    defaults = run_config.to_flags(RunConfig())
    assert description.find_changed_flags(defaults, {}) == {}


def test_columns_are_the_same_whatever_the_flags():
    private = description.create_columns(FLAGS, DERIVED)
    plain = description.create_columns(run_config.to_flags(RunConfig()), {"aggregator": "mean"})
    assert private.keys() == plain.keys()
    assert private["other flags"] == "--embedding_dim=8 --list_lengths=5,10"
    assert plain["other flags"] == "none"
    assert (private["noise_multiplier"], plain["noise_multiplier"]) == (1.5, 0.0)
    assert plain["aggregator"] == "mean"


def test_the_configuration_is_a_table_of_every_flag_once():
    text = description.tabulate_flags(FLAGS, DERIVED)
    assert "| `--embedding_dim` | `8` | `32` |" in text
    assert "| `--list_lengths` | `5 10` | - |" in text
    names = re.findall(r"^\| `--(\w+)`", text, re.MULTILINE)
    assert sorted(names) == sorted(FLAGS)


def test_charts_show_what_a_run_may_call_its_metrics():
    layout = description.create_layout((10,), is_private=True)
    assert [category.title for category in layout.category] == [
        *("quality", "privacy", "training", "communication", "time")
    ]
    # Without privacy there is nothing to show of it.
    plain = description.create_layout((10,), is_private=False)
    assert [of.title for of in plain.category] == [
        *("quality", "training", "communication", "time")
    ]
    patterns = {chart.title: chart.multiline.tag[0] for of in layout.category for chart in of.chart}
    quality = patterns["validation recall@10"]
    for name in ("validation", "non_private/validation", "private"):
        assert re.search(quality, cards.name_card(f"{name}/recall@10"))
    assert not re.search(quality, cards.name_card("validation/recall@100"))
    assert not re.search(quality, cards.name_card("test/recall@10"))
    for name in ("test/ndcg@10", "non_private/test/ndcg@10"):
        assert re.search(patterns["test ndcg@10, once at the end"], cards.name_card(name))
    for name in ("epsilon", "insecure_epsilon", "simulated_epsilon"):
        (pattern,) = (p for title, p in patterns.items() if title.startswith("epsilon"))
        assert re.search(pattern, cards.name_card(f"privacy/{name}"))
    up = cards.name_card("non_private/communication/upload_megabytes")
    assert re.search(patterns["megabytes up"], up)
    down = cards.name_card("communication/secure_sum_download_megabytes")
    assert re.search(patterns["megabytes down"], down)


def test_a_session_describes_the_run_in_the_place_of_the_one_before(tmp_path):
    for statement in ("first", "second"):
        description.write(tmp_path, FLAGS, DERIVED, statement, True, (10,))
    assert len(list(tmp_path.glob(f"*{event_files.DESCRIPTION}"))) == 1
    texts = events.read_texts(tmp_path)
    assert texts["privacy/statement"] == [(0, "second")]
    assert "non_private/validation/" in texts["privacy/names"][0][1]
    assert "| noise_multiplier | `1.5` |" in texts["configuration/derived"][0][1]
