"""The question answerer in PyTorch."""

import torch
from torch import Tensor, nn

from reference_models.two_input_qa.spec import (
    ANSWERS,
    QUESTION_FEATURES,
    QUESTION_UNITS,
    TEXT_FEATURES,
    TEXT_UNITS,
    WORDS,
)

EMBEDDING_RANGE = 0.05


class TwoInputQA(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text_embedding = nn.Embedding(WORDS, TEXT_FEATURES)
        self.text_lstm = nn.LSTM(TEXT_FEATURES, TEXT_UNITS, batch_first=True)
        self.question_embedding = nn.Embedding(WORDS, QUESTION_FEATURES)
        self.question_lstm = nn.LSTM(QUESTION_FEATURES, QUESTION_UNITS, batch_first=True)
        self.answer = nn.Linear(TEXT_UNITS + QUESTION_UNITS, ANSWERS)
        # Most words are seldom trained: small tables keep them from drowning the facts.
        for table in (self.text_embedding, self.question_embedding):
            nn.init.uniform_(table.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)

    def forward(self, text: Tensor, question: Tensor) -> Tensor:
        _, (h_text, _) = self.text_lstm(self.text_embedding(text))
        _, (h_question, _) = self.question_lstm(self.question_embedding(question))
        states = torch.cat((h_text[0], h_question[0]), dim=-1)
        return torch.softmax(self.answer(states), dim=-1)


def build(name: str) -> nn.Module:
    return TwoInputQA()
