"""The attention encoder and decoder in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_packed_sequence

from reference_models.attention_seq2seq.spec import DIM, UNITS, VOCABULARY
from reference_models.torch_masking import Steps


class AttentionSeq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(VOCABULARY, DIM)
        self.encoder = nn.GRU(DIM, UNITS, batch_first=True)
        self.target_embedding = nn.Embedding(VOCABULARY, DIM)
        self.decoder = nn.GRU(DIM, UNITS, batch_first=True)
        self.query = nn.Linear(UNITS, UNITS)
        self.logits = nn.Linear(2 * UNITS, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        sources, targets = Steps(source), Steps(target)
        packed, state = self.encoder(sources.packed(self.source_embedding(sources.ids)))
        memory, _ = pad_packed_sequence(packed, batch_first=True, total_length=source.shape[1])
        memory = sources.spread(memory)
        x, _ = self.decoder(
            self.target_embedding(targets.ids), torch.where(sources.any, state, 0.0)
        )
        x = targets.spread(x)
        scores = self.query(x) @ memory.transpose(1, 2) * UNITS**-0.5
        weights = torch.where((source != 0)[:, None], scores, -1e4).softmax(-1)
        context = torch.where(sources.any[..., None], weights @ memory, 0.0)
        logits = self.logits(torch.cat([x, context], dim=-1))
        return torch.where((target != 0)[..., None], logits, 0.0)


def build(name: str) -> nn.Module:
    return AttentionSeq2Seq()
