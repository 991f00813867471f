"""What a model promises where there is padding: with models of NumPy alone, and PyTorch's own."""

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.schema import Raggedness
from harness.recording import cases, promises
from harness.recording.runs import measure
from harness.subjects.describe import line
from harness.subjects.description import InputDescription
from tests.unit.recording.test_probing import Net, probed

TOKENS = "tokens: int64[batch, time] in 0..9, padding 9"
ALL = ("right", "left", "gapped")


def net(function, *lines, slow=None):
    """A model, its specification, and its plan at a few lengths."""
    spec, model = probed(function, *lines), Net(function)
    if slow is not None:
        model.without_fast_paths = lambda inputs: Net(slow).run(inputs, False)
    return model, spec, cases.plan(spec, (3, 5, 8), (1, 3))


def test_words_for_rows_and_padded_steps():
    words = ", padding 0, right, never empty, valid steps only"
    described = line(f"x: float32[batch, t]{words}")
    flags = {"right": True, "never_empty": True, "valid_only": True}
    assert described == InputDescription("x", "float32", ("batch", "t"), padding=0.0, **flags)
    spec = probed(lambda x: x, f"x: float32[batch, time, 4]{words}")
    assert (spec.never_empty, spec.valid_only) == (True, True)
    kinds = {case.raggedness for case in cases.plan(spec, (3, 5), (1, 3), True)}
    assert kinds == {Raggedness.NONE, Raggedness.RIGHT}
    with pytest.raises(UsageError, match="'never empty' is for a model with padding"):
        probed(lambda x: x, "x: float32[batch, time, 4], never empty")


def steps(tokens, at_padding=1.0, at_empty=1.0):
    """A number for each step, and one for each row."""
    valid = tokens != 9
    y = np.where(valid, tokens / 7, at_padding)
    row = np.where(valid.any(1), (y * valid).sum(1), at_empty)
    return {"y": np.where(valid.any(1)[:, None], y, at_empty), "row": row}


@pytest.mark.parametrize(
    ("changes", "never_empty", "valid_only"),
    [
        ({}, False, False),
        ({"at_padding": 0.0}, False, True),
        ({"at_empty": np.nan}, True, False),
        ({"at_padding": np.nan, "at_empty": 0.0}, True, True),
    ],
)
def test_places_where_two_paths_differ_are_no_promise(changes, never_empty, valid_only):
    model, spec, plan = net(steps, TOKENS, slow=lambda tokens: steps(tokens, **changes))
    found = promises.of(model, spec, plan)
    assert (found.spec.never_empty, found.spec.valid_only) == (never_empty, valid_only)
    assert (Raggedness.EMPTY in found.excluded) is never_empty
    assert (
        any("rows without a valid step: PyTorch's" in text for text in found.lines) is never_empty
    )
    kept = promises.kept(model, found.spec)
    results, *_ = measure(kept, found.spec, plan[-4:], lambda text: None)
    told = promises.left_out(found, results)
    assert [text.split(" of ")[1].partition(",")[0] for text in told] == (
        ["y"] if valid_only else []
    )
    padded = [r for r in results if r.case.raggedness is Raggedness.RIGHT]
    valid = padded[0].inputs["tokens"] != 9
    assert (padded[0].outputs["y"][~valid] == 0).all() == valid_only


def test_rows_that_rounding_decides_are_no_promise():
    """Scores of an empty row, to which -1e9 is added, are all alike in float32 alone."""

    class Scores(Net):
        def run(self, inputs, wide):
            tokens = inputs["tokens"]
            scores = np.arange(tokens.shape[1]) / 2 + np.where(tokens == 9, -1e9, 0)
            scores = scores if wide else scores.astype(np.float32)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            places = weights @ np.arange(tokens.shape[1]) / 7
            return [("y", places if wide else places.astype(np.float32))]

    model, spec, plan = net(lambda tokens: {"y": tokens.sum(1) / 7}, TOKENS)
    assert promises.of(model, spec, plan).excluded == ()
    drawn = [case for case in plan if case.raggedness is Raggedness.EMPTY]
    assert drawn
    found = promises.of(Scores(None), spec, plan)
    assert found.excluded == (Raggedness.EMPTY,)
    assert found.spec.never_empty
    assert found.lines == [f"rows without a valid step: {promises.ROUNDING}"]


def test_a_kind_of_padding_with_two_answers_at_valid_steps_is_left_out():
    def counted(tokens, off=0.0):
        return {"y": np.where(tokens == 9, 0, tokens + off * (tokens[:, :1] == 9))}

    model, spec, plan = net(counted, TOKENS, slow=lambda tokens: counted(tokens, 0.5))
    found = promises.of(model, spec, plan)
    assert Raggedness.LEFT in found.excluded
    assert Raggedness.RIGHT not in found.excluded
    assert any(text.startswith("padding left: ") for text in found.lines)


def summed(tokens):
    return {"y": np.cumsum(np.where(tokens == 9, 0, tokens + 1.0), axis=1)}


@pytest.mark.parametrize(
    ("function", "right", "expected"),
    [
        (summed, False, ALL),
        (summed, True, ("right",)),
        (lambda tokens: {"y": tokens * np.arange(1.0, tokens.shape[1] + 1)}, False, ("right",)),
        (lambda tokens: {"y": tokens.sum(1) * 0.1}, False, ()),
        (lambda tokens: {"y": tokens[:, ::2] * 0.1}, False, None),
    ],
    ids=["sum", "sum, right", "positions", "no mask", "stride"],
)
def test_the_padding_that_changes_nothing(function, right, expected):
    model, spec, plan = net(function, TOKENS)
    results, *_ = measure(model, spec, plan, lambda text: None)
    ways = promises.unchanged(model, spec, results, right)
    assert ways == (None if expected is None else tuple(map(Raggedness, expected)))


def test_attention_by_its_formula_is_what_pytorch_documents():
    torch = pytest.importorskip("torch")
    from harness.frameworks.torch_attention import by_formula

    attend = torch.nn.functional.scaled_dot_product_attention
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 8, generator=generator) for _ in range(3))
    mask = torch.rand(2, 1, 5, 5, generator=generator) > 0.4
    mask[0, 0, 2] = False
    for options in (
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": mask},
        {"attn_mask": torch.randn(5, 5, generator=generator)},
    ):
        with by_formula():
            formula = torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
        empty = formula.isnan()
        assert empty.any() == (options.get("attn_mask") is mask)
        torch.testing.assert_close(formula[~empty], attend(q, k, v, **options)[~empty])
    with by_formula():
        few = torch.nn.functional.scaled_dot_product_attention(
            q, k[:, :2], v[:, :2], enable_gqa=True
        )
    torch.testing.assert_close(few, attend(q, k[:, :2], v[:, :2], enable_gqa=True))
    assert torch.nn.functional.scaled_dot_product_attention is attend
