"""Random small nets through the native exporters of both frameworks, and relations on the graphs.

``HYPOTHESIS_PROFILE=nightly`` tries many, other ones every time; otherwise a few, always the same.
The examples that are written out are the smallest of what failed once.
"""

import os

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.support.random_checks import check
from tests.support.random_nets import (
    KerasLayer,
    KerasNet,
    Run,
    TorchNet,
    keras_nets,
    runs,
    torch_nets,
)

pytestmark = pytest.mark.slow

slow = [HealthCheck.too_slow]
PROFILES = {
    "default": settings(
        max_examples=12, derandomize=True, deadline=None, suppress_health_check=slow
    ),
    "nightly": settings(
        max_examples=160, deadline=None, suppress_health_check=slow, print_blob=True
    ),
}
PROFILE = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")]

# Keras hands no mask to a layer that is also given states: padding changed its final state.
MASKED_WITH_STATES = KerasNet(
    "masking", 3, (KerasLayer((("rnn", 1), ("lstm", 3)), state_in=True, state_out=True),)
)
# Small products, where the Tanh of ONNX Runtime's RNN is as far off as at larger values.
PRODUCT = KerasLayer((("lstm", 4),), direction="bidirectional", merge="mul", bias=False)
SMALL = KerasNet("plain", 2, (PRODUCT, PRODUCT, KerasLayer((("rnn", 2),), bias=False)), seed=1)


@PROFILE
@given(net=keras_nets(), calls=runs())
@example(net=MASKED_WITH_STATES, calls=[Run(3, 1, "gapped"), Run(1, 7, "gapped")])
@example(net=SMALL, calls=[Run(1, 2), Run(4, 5)])
def test_keras_net(net: KerasNet, calls: list[Run]) -> None:
    from tests.support import random_keras

    check(random_keras.realise(net), calls, net.seed)


@PROFILE
@given(net=torch_nets(), calls=runs(("none", "right")))
def test_torch_net(net: TorchNet, calls: list[Run]) -> None:
    from tests.support import random_torch

    check(random_torch.realise(net), calls, net.seed)
