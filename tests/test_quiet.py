import logging
import warnings

from absl import logging as absl_logging

from fedrec_tff import quiet


def test_it_is_quiet_inside_and_as_before_afterwards(capsys, monkeypatch):
    logger = logging.getLogger("tensorflow")
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger.addHandler(handler)
    before = [*warnings.filters], absl_logging.get_verbosity()
    try:
        with quiet.quietly(), quiet.quietly():
            warnings.warn("inside", UserWarning, stacklevel=1)
            logger.warning("inside")
            logger.error("worth a line")
            absl_logging.warning("inside")
        assert ([*warnings.filters], absl_logging.get_verbosity()) == before
        logger.warning("Object was never used, tells TFF's own")
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
    assert heard == ["worth a line", "outside"]
    assert "inside" not in capsys.readouterr().err
