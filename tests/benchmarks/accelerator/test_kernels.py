"""Kernels, bytes and operations of programs written by hand, counted by hand."""

import pytest

from fedrec_tff.benchmarks.accelerator import cards, hlo_text, kernels, round_seconds

# A product in a fusion; a loop that updates a row of ten in place; rows taken from a table.
_PROGRAM = """\
HloModule jit_f, is_scheduled=true

%fused_product (p0: f32[4,8], p1: f32[8,16]) -> f32[4,16] {
  %p0 = f32[4,8]{1,0} parameter(0)
  %p1 = f32[8,16]{1,0} parameter(1)
  %dot.1 = f32[4,16]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %tanh.1 = f32[4,16]{1,0} tanh(%dot.1)
}

%body (state: (s32[], f32[10,16])) -> (s32[], f32[10,16]) {
  %state = (s32[], f32[10,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %zero = s32[] constant(0)
  %rows = f32[10,16]{1,0} get-tuple-element(%state), index=1
  %row = f32[1,16]{1,0} dynamic-slice(%rows, %i, %zero), dynamic_slice_sizes={1,16}
  %new = f32[10,16]{1,0} dynamic-update-slice(%rows, %row, %i, %zero)
  ROOT %next = (s32[], f32[10,16]{1,0}) tuple(%i, %new)
}

%condition (state.1: (s32[], f32[10,16])) -> pred[] {
  %state.1 = (s32[], f32[10,16]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%i.1, %i.1), direction=LT
}

%fused_gather (t: bf16[1000,16], ids: s32[5,1]) -> bf16[5,16] {
  %t = bf16[1000,16]{1,0} parameter(0)
  %ids = s32[5,1]{1,0} parameter(1)
  ROOT %g = bf16[5,16]{1,0:T(8,128)(2,1)} gather(%t, %ids), offset_dims={1}, slice_sizes={1,16}
}

ENTRY %main (a: f32[4,8], b: f32[8,16], c: (s32[], f32[10,16]), t.1: bf16[1000,16], k: s32[5,1]) -> (f32[4,16], bf16[5,16]) {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f32[8,16]{1,0} parameter(1)
  %c = (s32[], f32[10,16]{1,0}) parameter(2)
  %t.1 = bf16[1000,16]{1,0} parameter(3)
  %k = s32[5,1]{1,0} parameter(4)
  %product = f32[4,16]{1,0} fusion(%a, %b), kind=kOutput, calls=%fused_product
  %loop = (s32[], f32[10,16]{1,0}) while(%c), condition=%condition, body=%body
  %taken = bf16[5,16]{1,0} fusion(%t.1, %k), kind=kLoop, calls=%fused_gather, backend_config={"estimated_cycles":"3000"}
  ROOT %result = (f32[4,16]{1,0}, bf16[5,16]{1,0}) tuple(%product, %taken)
}
"""  # noqa: E501


def test_kernels_bytes_and_operations_are_those_counted_by_hand():
    program = hlo_text.parse(_PROGRAM)
    found = {kernel.name: kernel for kernel in kernels.list_kernels(program, [7])}
    assert {name: kernel.executions for name, kernel in found.items()} == {
        "product": 1,
        "less": 8,
        "row": 7,
        "new": 7,
        "taken": 1,
    }
    product = found["product"]
    assert product.num_bytes == 4 * (4 * 8 + 8 * 16 + 4 * 16)
    assert (product.product_flops, product.other_flops) == (2 * 4 * 8 * 16, 4 * 16)
    # Five rows of the thousand; and one row of ten, read and written, at a pair of numbers.
    assert found["taken"].num_bytes == 2 * (5 * 16 + 5 * 16) + 4 * 5
    assert found["row"].num_bytes == 4 * (16 + 16 + 2)
    assert found["new"].num_bytes == 4 * (16 + 16 + 2)
    assert found["taken"].cycles == 3000


@pytest.mark.parametrize(("trips", "said"), [([], "how often"), ([7, 1], "fewer")])
def test_trip_counts_belong_to_loops(trips, said):
    with pytest.raises(ValueError, match=said):
        kernels.list_kernels(hlo_text.parse(_PROGRAM), trips)


def test_a_kernel_takes_what_bounds_it():
    rates = round_seconds.Rates(flops=1e9, bytes_per_second=1e6, launch_seconds=1e-3)
    launch = kernels.Kernel("a", "fusion", 3, num_bytes=10, product_flops=10, other_flops=0)
    memory = kernels.Kernel("b", "fusion", 1, num_bytes=5e3, product_flops=0, other_flops=0)
    adding = kernels.Kernel("c", "fusion", 1, num_bytes=1, product_flops=0, other_flops=1e6)
    found = round_seconds.predict([launch, memory, adding], rates)
    assert found.seconds == pytest.approx(3e-3 + 5e-3 + 2e-3)
    assert found.shares == pytest.approx(
        {round_seconds.LAUNCHES: 0.3, round_seconds.MEMORY: 0.5, round_seconds.ARITHMETIC: 0.2}
    )
    assert (found.bound, found.num_launches) == (round_seconds.MEMORY, 5)


def test_a_compilers_estimate_goes_before_ours():
    card = cards.CARDS["v5e"]
    rates = round_seconds.Rates(card.flops, card.bytes_per_second, 1.0, card.clock_hertz)
    kernel = kernels.Kernel("a", "fusion", 2, 1.0, 1.0, 1.0, cycles=1500)
    assert round_seconds.predict([kernel], rates).seconds == pytest.approx(2e-6)
