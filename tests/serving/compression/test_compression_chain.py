"""What `--methods` says, and what is said of mistakes in it."""

import pytest

import fedrec_tff
from fedrec_tff.plugins import signatures
from fedrec_tff.serving.compression import catalogue, chain, product_quantization, quantization


def test_forms_methods_and_parameters_are_told_apart():
    found = chain.parse("low_rank  rank=48 |quantize bits=4 ; pq subvectors=16 rotation=true")
    assert list(found) == ["low_rank rank=48 | quantize bits=4", "pq subvectors=16 rotation=true"]
    first, second = found.values()
    assert first.steps[1].method == quantization.Quantization(4, 0, 8)
    assert second.steps[0].method == product_quantization.ProductQuantization(
        subvectors=16, bits=6, rotation=True, weighting="sampled"
    )
    assert not first.touches_user_data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low_rnk", "'low_rnk' is no method: did you mean low_rank"),
        ("pq;", "a method is missing"),
        ("pq | ", "a method is missing"),
        ("low_rank rnk=3", "rnk: unknown; did you mean rank"),
        ("low_rank rank", "write key=value"),
        ("low_rank rank=few", "whole number"),
        ("pq; pq", "there twice"),
        ("quantize bits=9", "choose from 2 to 8"),
        ("quantize group=-1", "0 or more"),
        ("pq bits=1", "choose from 2 to 8"),
        ("prune share=1", "from 0 to below 1"),
        ("low_rank weighting=exact", "choose one of none, sampled, released, counted"),
        ("distil histories=real", "choose made_up or training"),
        ("distil steps=0", "at least 1"),
        ("tune learning_rate=0", "more than 0"),
        ("tune bits=1", "choose from 2 to 8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(text, message):
    with pytest.raises(fedrec_tff.UserError, match=message) as caught:
        chain.parse(text)
    assert "--methods" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_methods_have_defaults_and_help():
    for name, builder in catalogue.METHODS.items():
        signature = signatures.read_signature(builder, chain.FLAG)
        assert signature.summary
        assert all(parameter.help for parameter in signature.parameters.values())
        assert not chain.parse(name)[name].touches_user_data
