"""Models that packages ship, untrained and small, as a user gives them to ``harness.export``.

The packages come beside this project's own, and what they name that is missing; none may replace
PyTorch::

    pip install --no-deps transformers==5.24.0 tokenizers==0.23.3 huggingface-hub==2.4.0 \
        keras-hub==0.32.0 pytorch-crf==0.7.2 torchaudio==2.11.0

The parameters of each wrapper are the inputs. They are all exported by
``python ci/architectures/run.py -k packages``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

SIZES = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
INNER = SIZES | {"intermediate_size": 64}
CONVOLUTIONS = {"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2)}
PLACES = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
SPEECH = {**INNER, **CONVOLUTIONS, **PLACES, "num_feat_extract_layers": 2}
GPT2 = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 2048}
T5 = {"vocab_size": 100, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
WHISPER = {
    "vocab_size": 100,
    "d_model": 32,
    "num_mel_bins": 8,
    "pad_token_id": 0,
    **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 64 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
    "max_source_positions": 50,
    "max_target_positions": 300,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
MAMBA = {"vocab_size": 100, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2}


def _torch(make: Callable[[], Any], forward: Callable[..., Any] | None = None) -> Any:
    """Return a seeded net, or a module that calls ``self.net`` by ``forward``."""
    import torch

    torch.manual_seed(0)
    net = make().eval()
    if forward is None:
        return net

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

    Wrapped.forward = forward  # type: ignore[method-assign]
    return Wrapped().eval()


def _transformers(name: str, sizes: dict[str, Any], forward: Callable[..., Any] | None) -> Any:
    """Return a model of transformers; its configuration has the name up to ``Model`` or ``For``."""
    import transformers

    model = getattr(transformers, name)
    return _torch(lambda: model(model.config_class(**sizes)), forward)


def bert() -> Any:
    return _transformers("BertModel", INNER, None)


def t5_encoder() -> Any:
    return _transformers(
        *("T5EncoderModel", T5),
        lambda self, input_ids, attention_mask: self.net(input_ids, attention_mask)[0],
    )


def t5_step() -> Any:
    """The decoder over what it has written, beside the encoder's output."""
    return _transformers(
        *("T5Model", T5),
        lambda self, input_ids, memory, attention_mask: self.net.decoder(
            input_ids=input_ids,
            encoder_hidden_states=memory,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        )[0],
    )


def gpt2() -> Any:
    return _transformers(
        "GPT2LMHeadModel", GPT2, lambda self, input_ids: self.net(input_ids, use_cache=False).logits
    )


def _cached(self: Any, input_ids: Any, mask: Any, k0: Any, v0: Any, k1: Any, v1: Any) -> Any:
    """Steps of a decoder whose cache is an input and an output."""
    from transformers import DynamicCache

    cache = DynamicCache([(k0, v0), (k1, v1)])
    said = self.net(input_ids=input_ids, attention_mask=mask, cache=cache, use_cache=True)
    first, second = cache.layers
    return said.logits, first.keys, first.values, second.keys, second.values


def gpt2_cache() -> Any:
    return _transformers("GPT2LMHeadModel", GPT2, _cached)


def llama_cache() -> Any:
    """Rotary positions, root mean square norms."""
    return _transformers("LlamaForCausalLM", INNER, _cached)


def wav2vec2() -> Any:
    return _transformers("Wav2Vec2Model", SPEECH, lambda self, samples: self.net(samples)[0])


def _speech_conformer(positions: str) -> Any:
    sizes = {**SPEECH, "conv_depthwise_kernel_size": 7, "position_embeddings_type": positions}
    return _transformers(
        "Wav2Vec2ConformerModel", sizes, lambda self, samples: self.net(samples)[0]
    )


def wav2vec2_conformer() -> Any:
    return _speech_conformer("relative")


def wav2vec2_rotary() -> Any:
    """The same with rotary positions."""
    return _speech_conformer("rotary")


def conformer() -> Any:
    def make() -> Any:
        from torchaudio.models import Conformer

        return Conformer(16, 2, 32, 2, 7)

    return _torch(make)


def whisper_encoder() -> Any:
    """Of a fixed length, as published: here 100 frames."""
    return _transformers(
        "WhisperModel", WHISPER, lambda self, features: self.net.encoder(features)[0]
    )


def whisper_decoder() -> Any:
    return _transformers(
        *("WhisperModel", WHISPER),
        lambda self, input_ids, memory: self.net.decoder(
            input_ids, encoder_hidden_states=memory, use_cache=False
        )[0],
    )


def mamba() -> Any:
    return _transformers(
        "MambaModel", MAMBA, lambda self, input_ids: self.net(input_ids, use_cache=False)[0]
    )


def _tagger(forward: Callable[..., Any]) -> Any:
    """Return a tagger whose last layer is a conditional random field of pytorch-crf."""
    from torch import nn
    from torchcrf import CRF

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lstm = nn.Embedding(100, 16), nn.LSTM(16, 16, batch_first=True)
            self.head, self.crf = nn.Linear(16, 5), CRF(5, batch_first=True)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.embed(tokens))[0])

    return _torch(Tagger, forward)


def crf_loss() -> Any:
    """The log likelihood of given tags."""
    return _tagger(
        lambda self, tokens, tags: self.net.crf(self.net(tokens), tags, reduction="none")
    )


def crf_decode() -> Any:
    """``CRF.decode`` returns lists of Python's numbers."""
    import torch

    return _tagger(lambda self, tokens: torch.tensor(self.net.crf.decode(self.net(tokens))))


def _keras_hub(name: str) -> Any:
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    sizes = {"vocabulary_size": 100, "num_layers": 2, "num_heads": 2, "hidden_dim": 32}
    return getattr(keras_hub.models, name)(
        **sizes, intermediate_dim=64, max_sequence_length=300, dropout=0
    )


def keras_bert() -> Any:
    return _keras_hub("BertBackbone")


def keras_gpt2() -> Any:
    return _keras_hub("GPT2Backbone")


def _keras_layers(of: Callable[[Any], Any], mask_zero: bool) -> Any:
    """Return embeddings of tokens and places, and two layers."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), name="tokens", dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(100, 300, 32, mask_zero=mask_zero)(tokens)
    for _ in range(2):
        x = of(keras_hub.layers)(x)
    return keras.Model(tokens, x)


def keras_decoder() -> Any:
    return _keras_layers(lambda layers: layers.TransformerDecoder(64, 2), True)


def keras_fnet() -> Any:
    return _keras_layers(lambda layers: layers.FNetEncoder(64), False)


IDS = "input_ids: int64[batch, time] in 1..99"
MASK = "attention_mask: int64[batch, time], mask of time"
TOKENS = "tokens: int64[batch, time] in 0..99"
TAGS = "tags: int64[batch, time] in 0..4"
MEMORY = "memory: float32[batch, source, 32]"
CACHE = [f"{part}{layer}: float32[batch, 2, past, 16]" for layer in range(2) for part in "kv"]
STEPS = (IDS, "mask: int64[batch, past + time], mask of past + time", *CACHE)
SAMPLES = ("samples: float32[batch, time]", "time: 400..4000")
SHORT = "time: 1..300"
KERAS = (
    "token_ids: int32[batch, time] in 1..99, padding 0, right",
    "padding_mask: int32[batch, time], mask of time",
    SHORT,
)
MODELS: dict[str, tuple[str, ...]] = {
    "bert": (IDS + ", padding 0", MASK, "time: 1..512"),
    "t5_encoder": (IDS + ", padding 0", MASK),
    "t5_step": (
        *("input_ids: int64[batch, steps] in 1..99", MEMORY),
        "attention_mask: int64[batch, source], mask of source",
    ),
    "gpt2": (IDS,),
    "gpt2_cache": (IDS, STEPS[1] + ", right", *CACHE),
    "llama_cache": STEPS,
    "wav2vec2": SAMPLES,
    "wav2vec2_conformer": SAMPLES,
    "wav2vec2_rotary": SAMPLES,
    "conformer": ("input: float32[batch, time, 16]", "lengths: int64[batch], lengths of time"),
    "whisper_encoder": ("features: float32[batch, 8, 100]",),
    "whisper_decoder": (IDS, MEMORY, SHORT),
    "mamba": (IDS,),
    "crf_loss": (TOKENS, TAGS),
    "crf_decode": (TOKENS,),
    "keras_bert": (*KERAS, "segment_ids: int32[batch, time] in 0..1"),
    "keras_gpt2": KERAS,
    "keras_decoder": ("tokens: int32[batch, time] in 0..99", SHORT),
    "keras_fnet": ("tokens: int32[batch, time] in 0..99", SHORT),
}
"""The lines that describe each model's inputs; what a Keras model says itself is left out."""
