"""The question answerer in Keras."""

import keras

from reference_models.two_input_qa.spec import (
    ANSWERS,
    QUESTION_FEATURES,
    QUESTION_UNITS,
    TEXT_FEATURES,
    TEXT_UNITS,
    WORDS,
)


def build(name: str) -> keras.Model:
    text = keras.Input((None,), name="text", dtype="int32")
    question = keras.Input((None,), name="question", dtype="int32")
    x = keras.layers.Embedding(WORDS, TEXT_FEATURES, name="text_embedding")(text)
    x = keras.layers.LSTM(TEXT_UNITS, name="text_lstm")(x)
    y = keras.layers.Embedding(WORDS, QUESTION_FEATURES, name="question_embedding")(question)
    y = keras.layers.LSTM(QUESTION_UNITS, name="question_lstm")(y)
    both = keras.layers.Concatenate(name="both")([x, y])
    answer = keras.layers.Dense(ANSWERS, activation="softmax", name="answer")(both)
    return keras.Model({"text": text, "question": question}, {"answer": answer}, name=name)
