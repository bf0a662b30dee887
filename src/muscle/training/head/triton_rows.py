"""The `RowKernel` in Triton: a chunk's product becomes its loss gradient in its own place (`kernels.py` chooses it).

A program takes one row. It reads the row once for both normalisers (the maximum is carried along) and, where a
gradient is asked for, once more to write the weights over it. Each is computed in float32 from the 16-bit entry.
Argmax and label are not read from the row: their exact values come in, and their weights go out, beside it.
"""

# No `from __future__ import annotations`: Triton's interpreter looks for the class `constexpr` among the annotations,
# and its compiler refuses names of other modules there.
import torch
import triton
import triton.language as tl

from muscle.training.head.output_head import Product, Rows

_BLOCK, _WARPS = 4096, 8
"""Entries of a row at a time, and warps that share them. Compiled for an H100 a thread then takes up to 76 registers,
so that three rows are under way on a multiprocessor; with 8,192 entries it takes 168, and one is."""


def triton_rows(product: Product, *, scale: float, temperature: float, ce_weight: float, gradient: bool) -> Rows:
    """See `muscle.training.head.output_head.RowKernel`. Heads in bfloat16, float16 and float32."""
    num_tokens, vocab = product.raw.shape
    soft = temperature != 1.0
    found = product.exact.new_empty(num_tokens, 4, dtype=torch.float32)
    # Triton launches on the current device, whatever its arguments'.
    with torch.cuda.device_of(product.raw):  # type: ignore[no-untyped-call]
        _row_kernel[(num_tokens,)](
            product.raw,
            product.ids,
            product.exact,
            found,
            vocab,
            float(scale),
            1.0 / temperature,
            float(ce_weight),
            # At T = 1 both parts are the same softmax, and their shares sum to 1.
            (1.0 - ce_weight) / temperature if soft else 0.0,
            float(ce_weight) if soft else 1.0,
            SOFT=soft,
            PLAIN=ce_weight > 0.0 or not soft,
            GRADIENT=gradient,
            BLOCK=_BLOCK,
            num_warps=_WARPS,
        )
    return Rows(found[:, 0], found[:, 1], found[:, 2:])


@triton.jit
def _row_kernel(
    raw,
    ids,
    exact,
    found,  # (tokens, 4): lse, log_p, weights of argmax and label
    vocab,
    scale,
    cool,
    ce_weight,
    soft_share,
    plain_share,
    SOFT: tl.constexpr,
    PLAIN: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # tokens * vocab can pass 2**31.
    row = tl.program_id(0).to(tl.int64)
    line = raw + row * vocab
    top = tl.load(ids + 2 * row)
    label = tl.load(ids + 2 * row + 1)
    z_top = tl.load(exact + 2 * row) * scale
    z_label = tl.load(exact + 2 * row + 1) * scale

    # The rounded row may exceed its exact argmax: the maximum is looked for again.
    peak = tl.maximum(z_top, z_label)
    plain = tl.zeros([BLOCK], tl.float32)
    soft = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocab, BLOCK):
        z = _light(line, start, vocab, top, label, scale, BLOCK)
        highest = tl.maximum(peak, tl.max(z, 0))
        plain = plain * tl.exp(peak - highest) + tl.exp(z - highest)
        if SOFT:
            soft = soft * tl.exp((peak - highest) * cool) + tl.exp((z - highest) * cool)
        peak = highest

    twice = top == label
    top_plain = tl.exp(z_top - peak)
    label_plain = tl.where(twice, 0.0, tl.exp(z_label - peak))
    total_plain = tl.sum(plain, 0) + top_plain + label_plain
    top_soft, label_soft, total_soft = top_plain, label_plain, total_plain
    if SOFT:
        top_soft = tl.exp((z_top - peak) * cool)
        label_soft = tl.where(twice, 0.0, tl.exp((z_label - peak) * cool))
        total_soft = tl.sum(soft, 0) + top_soft + label_soft
    tl.store(found + 4 * row, peak * cool + tl.log(total_soft))
    tl.store(found + 4 * row + 1, z_label - peak - tl.log(total_plain))

    if GRADIENT:
        # The sums above have waited for every read of the row, and from here on a lane reads what it alone writes.
        plain_rate = plain_share / total_plain
        soft_rate = soft_share / total_soft
        one = tl.where(twice, ce_weight, 0.0)
        tl.store(found + 4 * row + 2, top_plain * plain_rate + top_soft * soft_rate - one)
        other = ce_weight - one
        tl.store(found + 4 * row + 3, label_plain * plain_rate + label_soft * soft_rate - other)
        for start in range(0, vocab, BLOCK):
            z = _light(line, start, vocab, top, label, scale, BLOCK)
            weight = tl.zeros([BLOCK], tl.float32)
            if PLAIN:
                weight += tl.exp(z - peak) * plain_rate
            if SOFT:
                weight += tl.exp((z - peak) * cool) * soft_rate
            at = start + tl.arange(0, BLOCK)
            tl.store(line + at, weight, mask=at < vocab)


@triton.jit
def _light(line, start, vocab, top, label, scale, BLOCK: tl.constexpr):
    """Return a block of a row's logits, -inf where argmax and label stand and beyond the row's end."""
    at = start + tl.arange(0, BLOCK)
    light = (at < vocab) & (at != top) & (at != label)
    z = tl.load(line + at, mask=at < vocab, other=0.0).to(tl.float32) * scale
    return tl.where(light, z, float("-inf"))
