"""The refused Keras models under one name each."""

from tests.support.keras_refused import REFUSED


def build(name):
    return REFUSED[name.removeprefix("refused_keras_")][0]()
