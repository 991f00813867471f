"""``dialog_act_tagger`` and ``dialog_act_classifier``: one set of weights, two interfaces."""

from harness.core.schema import ModelSpec, PaddedSteps, TensorSpec

WORDS = 200
ACTS = 12
DIM = 16
UNITS = 40
PADDED_STEPS: dict[str, PaddedSteps] = {"keras": "repeat", "torch": "zero"}

_WORDS = TensorSpec("words", "int32", ("batch", "sequence"), low=1, high=WORDS)

DIALOG_ACT_TAGGER = ModelSpec(
    name="dialog_act_tagger",
    summary="masked Embedding, LSTM(40) over all steps, Dense sigmoid per step",
    inputs=(_WORDS,),
    outputs=(TensorSpec("acts", "float32", ("batch", "sequence", ACTS)),),
    weights="dialog_act_tagger",
    padded="words",
    padded_steps=PADDED_STEPS,
)

DIALOG_ACT_CLASSIFIER = ModelSpec(
    name="dialog_act_classifier",
    summary="the tagger's acts after the last valid step",
    inputs=(_WORDS,),
    outputs=(TensorSpec("acts", "float32", ("batch", ACTS)),),
    weights="dialog_act_tagger",
    padded="words",
    padded_steps=PADDED_STEPS,
)
