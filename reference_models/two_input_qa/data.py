"""Facts in a text: it names one place and one object, and the question asks for one of them."""

import numpy as np

from harness.core.schema import Array
from reference_models.task import Batch, Task
from reference_models.two_input_qa.spec import ANSWERS, WORDS

LENGTHS = ((6, 3), (12, 5), (24, 4))
ROWS = 32
FACTS = 20
ASKS = 2
COMMON = 100
RARE = 0.1
_FILLER = ASKS + ASKS * FACTS


def _fillers(rng: np.random.Generator, length: int) -> Array:
    """Draw words without a fact, [rows, length]: mostly common ones, some from all others."""
    common = rng.integers(_FILLER, _FILLER + COMMON, (ROWS, length))
    rare = rng.integers(_FILLER, WORDS, (ROWS, length))
    return np.where(rng.random((ROWS, length)) < RARE, rare, common)


def _batch(rng: np.random.Generator) -> Batch:
    """Draw a batch; words 0 and 1 ask, the next 20 are places, the next 20 objects."""
    text_length, question_length = LENGTHS[rng.integers(len(LENGTHS))]
    text, question = _fillers(rng, text_length), _fillers(rng, question_length)
    rows = np.arange(ROWS)
    topic = rng.integers(0, ASKS, ROWS)
    facts = rng.integers(0, FACTS, (ROWS, ASKS)) + FACTS * np.arange(ASKS)
    where = rng.random((ROWS, text_length)).argsort(axis=1)[:, :ASKS]
    text[rows[:, None], where] = ASKS + facts
    question[rows, rng.integers(0, question_length, ROWS)] = topic
    inputs = {"text": text.astype(np.int32), "question": question.astype(np.int32)}
    return Batch(inputs, facts[rows, topic])


assert ASKS * FACTS <= ANSWERS

TASK = Task("answer", _batch, chance=1 / (ASKS * FACTS), steps=1500, learning_rate=1e-2)
