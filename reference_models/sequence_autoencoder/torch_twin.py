"""The sequence autoencoder and its halves in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.sequence_autoencoder.spec import (
    DRAWN,
    FEATURES,
    SYMBOLS,
    UNITS,
    UNSEEN_LOGIT,
)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, FEATURES)
        self.encoder_lstm = nn.LSTM(FEATURES, UNITS, batch_first=True)

    def encode(self, tokens: Tensor) -> Tensor:
        _, (code, _) = self.encoder_lstm(self.embedding(tokens))
        return code[0]


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder_lstm = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.probabilities = nn.Linear(UNITS, SYMBOLS)
        # Starts at the symbols' frequencies, so that training has only to separate them.
        nn.init.zeros_(self.probabilities.bias)
        nn.init.constant_(self.probabilities.bias[DRAWN:], UNSEEN_LOGIT)

    def decode(self, code: Tensor, length: int) -> Tensor:
        x, _ = self.decoder_lstm(code[:, None].expand(-1, length, -1))
        return torch.softmax(self.probabilities(x), dim=-1)


class SequenceAutoencoder(_Encoder, _Decoder):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.decode(self.encode(tokens), tokens.shape[1])


class SequenceEncoder(_Encoder):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.encode(tokens)


class SequenceDecoder(_Decoder):
    def forward(self, code: Tensor, length: Tensor) -> Tensor:
        return self.decode(code, torch.arange(length).shape[0])


def build(name: str) -> nn.Module:
    return {
        "sequence_autoencoder": SequenceAutoencoder,
        "sequence_encoder": SequenceEncoder,
        "sequence_decoder": SequenceDecoder,
    }[name]()
