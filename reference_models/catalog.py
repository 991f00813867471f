"""The reference models by name; imports no framework."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from harness.registry import resolve
from harness.schema import ModelSpec

MODELS: dict[str, str] = {
    "two_input_qa": "reference_models.two_input_qa.spec:TWO_INPUT_QA",
    "stacked_classifier": "reference_models.stacked_classifier.spec:STACKED_CLASSIFIER",
    "streaming_classifier": "reference_models.stacked_classifier.spec:STREAMING_CLASSIFIER",
    "sequence_autoencoder": "reference_models.sequence_autoencoder.spec:SEQUENCE_AUTOENCODER",
    "sequence_encoder": "reference_models.sequence_autoencoder.spec:SEQUENCE_ENCODER",
    "sequence_decoder": "reference_models.sequence_autoencoder.spec:SEQUENCE_DECODER",
    "fixed_length_autoencoder": (
        "reference_models.fixed_length_autoencoder.spec:FIXED_LENGTH_AUTOENCODER"
    ),
    "language_model": "reference_models.language_model.spec:LANGUAGE_MODEL",
    "dialog_act_tagger": "reference_models.dialog_act.spec:DIALOG_ACT_TAGGER",
    "dialog_act_classifier": "reference_models.dialog_act.spec:DIALOG_ACT_CLASSIFIER",
    "bidirectional_tagger": "reference_models.bidirectional_tagger.spec:BIDIRECTIONAL_TAGGER",
    "gru_tagger": "reference_models.gru_tagger.spec:GRU_TAGGER",
    "gru_tagger_reset_before": "reference_models.gru_tagger.spec:GRU_TAGGER_RESET_BEFORE",
    "encoder_decoder": "reference_models.encoder_decoder.spec:ENCODER_DECODER",
}


def load(name: str) -> ModelSpec:
    """The specification of the model called ``name``; KeyError where there is none."""
    spec = resolve(MODELS[name])
    assert isinstance(spec, ModelSpec)
    return spec


def part(spec: ModelSpec, name: str) -> ModuleType:
    """One module of a model's folder: ``oracle``, ``data``, ``keras_twin`` or ``torch_twin``."""
    return import_module(f"{spec.package}.{name}")
