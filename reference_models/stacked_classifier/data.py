"""Marker order: two marker patterns in noise, and the label of the first one."""

import numpy as np

from reference_models.stacked_classifier.spec import FEATURES, LABELS
from reference_models.task import Batch, Task

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


TASK = Task("label", _batch, chance=1 / LABELS, steps=200, learning_rate=3e-3)
