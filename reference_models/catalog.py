"""The reference models by name; imports no framework."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from harness.core.errors import UsageError, one_line, unknown
from harness.core.registry import extended, resolve
from harness.core.schema import ModelSpec

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
}
GOLDEN = Path("golden")
MODELS: dict[str, str] = extended("harness.models", OURS)


def load(name: str) -> ModelSpec:
    """The specification of the model called ``name``; KeyError where there is none.

    UsageError where another distribution's cannot be imported, or is none of that name.
    """
    target = MODELS[name]
    try:
        spec = resolve(target)
    except Exception as error:
        raise UsageError(f"model {name}: {target} cannot be imported: {one_line(error)}") from None
    if not isinstance(spec, ModelSpec) or spec.name != name:
        found = f"of {spec.name!r}" if isinstance(spec, ModelSpec) else type(spec).__name__
        raise UsageError(f"model {name}: {target} is {found}, expected a ModelSpec of {name!r}")
    return spec


def package(name: str) -> str:
    """The package with a model's oracle, data and twins: that of its specification.

    UsageError where there is no model called ``name``.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    module = MODELS[name].partition(":")[0]
    found = find_spec(module)
    whole = found is not None and found.submodule_search_locations is not None
    return module if whole else module.rpartition(".")[0]


def goldens(spec: ModelSpec) -> Path:
    """The folder that holds a model's goldens unless another is given.

    It is ``golden`` in the model's own package, which may ship them, else ``golden`` here.
    UsageError where neither is there.
    """
    own = find_spec(package(spec.name))
    places = (own.submodule_search_locations if own else None) or ()
    shipped = (Path(place) / "golden" for place in places)
    return next((folder for folder in shipped if folder.is_dir()), None) or there(GOLDEN)


def there(root: Path) -> Path:
    """Return ``root``; UsageError, which says where goldens come from, where it is no folder."""
    if not root.is_dir():
        raise UsageError(
            f"there is no folder {root}: goldens of reference models come with the source, not with"
            " the installed package; work in a checkout or give --golden DIR (a bundle has its own)"
        )
    return root


def part(spec: ModelSpec, name: str) -> ModuleType:
    """One module of a model's folder: ``oracle``, ``data``, ``keras_twin`` or ``torch_twin``.

    UsageError where the catalog does not have the model: what a golden says is never imported.
    """
    return import_module(f"{package(spec.name)}.{name}")
