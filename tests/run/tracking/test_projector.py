import numpy as np
import pandas as pd
from google.protobuf import text_format
from tensorboard.plugins import projector as tensorboard_projector

from fedrec_tff.run.tracking import projector

EMBEDDING = np.arange(6.0, dtype=np.float32).reshape(3, 2) / 4
FEATURES = pd.DataFrame(
    {"genres": ["Drama|War", "Comedy", None], "title": ["One", "Two\tand\na half", "Three"]}
)


def test_points_are_called_by_their_titles_and_have_genres(tmp_path):
    projector.write(tmp_path, EMBEDDING, ["7", "8", "9"], FEATURES)
    assert np.array_equal(np.loadtxt(tmp_path / "item_embeddings.tsv"), EMBEDDING)
    assert (tmp_path / "item_metadata.tsv").read_text().splitlines() == [
        "title\titem\tgenres",
        "One\t7\tDrama|War",
        "Two and a half\t8\tComedy",
        "Three\t9\t-",
    ]
    config = text_format.Parse(
        (tmp_path / "projector_config.pbtxt").read_text(), tensorboard_projector.ProjectorConfig()
    )
    (found,) = config.embeddings
    assert (found.tensor_path, found.metadata_path) == ("item_embeddings.tsv", "item_metadata.tsv")


def test_items_that_nothing_is_known_of_have_their_ids(tmp_path):
    projector.write(tmp_path, EMBEDDING, ["7", "8", "9"], None)
    # One column has no title, as the Projector wants it.
    assert (tmp_path / "item_metadata.tsv").read_text().splitlines() == ["7", "8", "9"]


def test_of_a_large_catalogue_so_many_are_shown_as_a_browser_can_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(projector, "_MOST_ITEMS", 3)
    projector.write(tmp_path, np.zeros([101, 2], np.float32), list(map(str, range(101))), None)
    assert (tmp_path / "item_metadata.tsv").read_text().split() == ["0", "50", "100"]
    assert len((tmp_path / "item_embeddings.tsv").read_text().splitlines()) == 3
