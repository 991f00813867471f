"""The reference models by name, their parts and their goldens; imports no framework."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from harness.core.errors import UsageError, one_line, unknown
from harness.core.registry import extended, resolve
from harness.core.schema import Arrays, ModelSpec

OURS: dict[str, str] = {
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
    "transformer_encoder": "reference_models.transformer_encoder.spec:TRANSFORMER_ENCODER",
    "ctc_recogniser": "reference_models.ctc_recogniser.spec:CTC_RECOGNISER",
    "attention_seq2seq": "reference_models.attention_seq2seq.spec:ATTENTION_SEQ2SEQ",
    "causal_decoder": "reference_models.causal_decoder.spec:CAUSAL_DECODER",
}
GOLDEN = Path("golden")
MODELS: dict[str, str] = extended("harness.models", OURS)


def load(name: str) -> ModelSpec:
    """Return the specification of the model called ``name``; KeyError where there is none.

    UsageError where another distribution's cannot be imported, or is none of that name.
    """
    target = MODELS[name]
    try:
        spec = resolve(target)
    except Exception as error:
        raise UsageError(f"model {name}: {target} cannot be imported: {one_line(error)}") from None
    if not isinstance(spec, ModelSpec) or spec.name != name:
        actual = f"of {spec.name!r}" if isinstance(spec, ModelSpec) else type(spec).__name__
        raise UsageError(f"model {name}: {target} is {actual}, expected a ModelSpec of {name!r}")
    return spec


def package(name: str) -> str:
    """Return the package with a model's oracle, data and twins: that of its specification.

    UsageError where there is no model called ``name``.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    module = MODELS[name].partition(":")[0]
    return module if _folders(module) else module.rpartition(".")[0]


def _folders(module: str) -> list[Path]:
    """Return the folders of a package; none for another module."""
    spec = find_spec(module)
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def goldens(spec: ModelSpec) -> Path:
    """Return the folder of a model's goldens: ``golden`` in its own package, else ``golden`` here.

    UsageError where there is neither.
    """
    shipped = (folder / "golden" for folder in _folders(package(spec.name)))
    return next((folder for folder in shipped if folder.is_dir()), None) or goldens_root(GOLDEN)


def goldens_root(root: Path) -> Path:
    """Return ``root``; UsageError, which says where goldens come from, where it is no folder."""
    if not root.is_dir():
        raise UsageError(
            f"there is no folder {root}: goldens of reference models come with the source, not with"
            " the installed package; work in a checkout or give --golden DIR (a bundle has its own)"
        )
    return root


def has(spec: ModelSpec) -> bool:
    """Return whether a specification, which may come from a file, is that of one of the models."""
    if spec.name not in MODELS:
        return False
    own = load(spec.name)
    return replace(spec, summary=own.summary) == own


def check_spec(spec: ModelSpec, folder: Path) -> None:
    """Raise UsageError where a golden's specification is not the one that the catalog has."""
    if not has(spec):
        raise UsageError(f"{folder}: its specification is not that of {spec.name} in the catalog")


def part(spec: ModelSpec, name: str) -> ModuleType:
    """Import and return ``oracle``, ``data``, ``keras_twin`` or ``torch_twin`` of a model.

    UsageError where the catalog does not have the model: what a golden says is never imported.
    """
    return import_module(f"{package(spec.name)}.{name}")


def run_oracle(spec: ModelSpec, framework: str, parameters: Arrays, inputs: Arrays) -> Arrays:
    """Return a model's outputs in float64, with padded steps as ``framework`` has them."""
    padded = spec.padded_steps.get(framework, "repeat")
    outputs: Arrays = part(spec, "oracle").run(spec.name, parameters, inputs, padded)
    return outputs
