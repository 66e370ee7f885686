"""An error's message is one line, whatever it quotes, and cannot steer a terminal."""

from hypothesis import strategies as st

from fedrec_tff import errors
from tests.fuzzing import cases


def test_line_ends_are_spaces_and_control_characters_escapes():
    message = str(errors.UserError("a\nb\r\nc \x1b[31m\0 é\ud800 \u2028d"))
    assert message == r"a b c \x1b[31m\x00 é\ud800  d"
    assert str(errors.DivergedError("as it is: é, 字")) == "as it is: é, 字"


@cases.fuzz_times(
    25, text=st.text(st.characters()) | st.text(alphabet="\0\x1b\n\r\x85\u2028\ud8aa")
)
def test_any_text(text):
    message = str(errors.UserError(text))
    assert message.isprintable()
    message.encode()
