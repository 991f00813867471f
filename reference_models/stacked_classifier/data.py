"""Marker order: two marker patterns stand in noise, and the label says which came first."""

import numpy as np

from reference_models.stacked_classifier.spec import FEATURES, LABELS
from reference_models.task import Batch, Task, accuracy

LENGTHS = (50, 10, 60)
ROWS = 32
NOISE = 0.2


def _batch(rng: np.random.Generator) -> Batch:
    length = int(rng.choice(LENGTHS))
    features = rng.normal(0.0, NOISE, (ROWS, length, FEATURES))
    target = rng.integers(0, LABELS, ROWS)
    for row, label in enumerate(target):
        early, late = np.sort(rng.choice(length, 2, replace=False))
        features[row, early if label == 0 else late, : FEATURES // 2] += 1.0
        features[row, late if label == 0 else early, FEATURES // 2 :] += 1.0
    return Batch({"features": features.astype(np.float32)}, target)


TASK = Task(
    output="label",
    loss="categorical",
    batch=_batch,
    score=accuracy,
    unit="accuracy",
    chance=1 / LABELS,
    best=1.0,
    steps=200,
    learning_rate=3e-3,
)
