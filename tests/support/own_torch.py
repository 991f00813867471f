"""PyTorch models as users have them, for tests of exporting them."""

import collections
import ctypes
import os
import re
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

FRAMES = "x: float32[batch, time, 4]"
TOKENS = "tokens: int64[batch, time] in 0..19, padding 0"
LENGTHS = "lengths: int64[batch], lengths of time"
Named = collections.namedtuple("Named", "steps last")


class Net(nn.Module):
    """A GRU whose outputs go through ``after``."""

    def __init__(self, after=lambda y, h: y):
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.after = after

    def forward(self, x):
        return self.after(*self.gru(x))


class Packed(nn.Module):
    """Tokens with lengths; the outputs are as long as the longest row unless ``total``."""

    def __init__(self, total):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 4, padding_idx=0)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.total = total

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(
            self.embed(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        steps = tokens.shape[1] if self.total else None
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=steps)[0]


class Encoder(nn.Module):
    """PyTorch's encoder over tokens and their positions; its steps, or the mean of the valid."""

    def __init__(self, mean):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.place = nn.Embedding(20, 8), nn.Embedding(64, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.mean = nn.TransformerEncoder(layer, 2), mean

    def forward(self, tokens):
        padded = tokens == 0
        x = self.embed(tokens) + self.place(torch.arange(tokens.size(1)))
        y = self.encoder(x, src_key_padding_mask=padded)
        valid = (~padded)[..., None].to(y.dtype)
        return (y * valid).sum(1) / valid.sum(1).clamp(min=1) if self.mean else y


class Decoder(nn.Module):
    """A cell over so many steps, whatever the length of the input; the last output of each row."""

    def __init__(self, steps):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.steps = nn.GRUCell(4, 6), steps

    def forward(self, x):
        state, seen = x.new_zeros(x.size(0), 6), []
        for _ in range(self.steps or x.size(1)):
            state = self.cell(x.mean(1), state)
            seen.append(state)
        steps = torch.stack(seen, 1)[:, None].repeat(1, 3, 1, 1)
        best = state.topk(3, 1).indices % 3
        return steps.gather(1, best[..., None, None].expand(-1, -1, steps.size(2), 6)).sum(2)


class Conv(nn.Module):
    """A convolution, which refuses what is shorter than it is wide, before a GRU."""

    def __init__(self, width, stride, padding=0):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(4, 4, width, stride, padding)
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        return self.gru(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(4, 5)

    def forward(self, frames):
        return self.gru(frames)[0]


class MeanOfValid(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, frames, mask, *, scale=None, gain=None):
        weight = mask.unsqueeze(-1).float()
        y = (self.gru(frames)[0] * weight).sum(1) / weight.sum(1).clamp(min=1)
        return y if gain is None else y * gain


class TwoLengths(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.read = nn.GRU(4, 5, batch_first=True)
        self.write = nn.GRU(3, 5, batch_first=True)

    def forward(self, source, target):
        keys, queries = self.read(source)[0], self.write(target)[0]
        weights = torch.softmax(queries @ keys.transpose(1, 2), -1)
        return {"context": weights @ keys, "weights": weights}


class Keeps(nn.Module):
    """Goes on where the last call ended."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.state = None

    def forward(self, x):
        same = self.state is not None and self.state.shape[1] == x.shape[0]
        y, state = self.gru(x, self.state if same else None)
        self.state = state.detach()
        return y


class Drops(nn.Module):
    def __init__(self, always=False):
        super().__init__()
        torch.manual_seed(0)
        self.gru, self.always = nn.GRU(4, 5, 2, batch_first=True, dropout=0.5), always

    def forward(self, x):
        return nn.functional.dropout(self.gru(x)[0], 0.5, self.always or self.training)


class Casts(nn.Module):
    """Asks for float32 by name between its layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        y = self.head(torch.tanh(self.gru(x)[0]).float()) * torch.ones(3, dtype=torch.float32)
        return y * torch.exp(y.to(torch.float32))


class Endless(Net):
    """Never returns: in Python, or in a call that lets no other thread run."""

    def forward(self, x):
        Path("endless.begun").touch()
        while True:
            if os.getpid() % 2:
                re.fullmatch("(a+)+b", "a" * 60)


def net():
    return Net(lambda y, h: y)


def endless():
    return Endless()


def packed():
    return Packed(total=True)


def tuples():
    return Net(lambda y, h: Named(y, h))


def noisy():
    print("PRINTED BY THE FACTORY")
    print("WRITTEN BY THE FACTORY", file=sys.stderr)
    os.system("echo ECHOED BY THE FACTORY")
    return net()


def needs(size):
    return Net(size)


def slow():
    time.sleep(60)


def prints():
    """Write 64 MiB to standard output."""
    for _ in range(1024):
        os.write(1, b"x" * 2**16)
    return net()


def waits():
    """Say that it was called, and never return."""
    Path("waits.pid").write_text(str(os.getpid()))
    time.sleep(600)


def dies():
    os.kill(os.getpid(), 11)


def forks():
    """Dies while what it forked, as a library in C does, holds its pipes open."""
    if ctypes.CDLL(None).fork() == 0:
        time.sleep(600)
    os.kill(os.getpid(), 11)


def leaves():
    sys.exit(0)


def three():
    return 3


class Masked(nn.Module):
    """Tokens and frames, both masked where a token is padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(400, 4, padding_idx=0)
        self.gru = nn.GRU(8, 5, batch_first=True)

    def forward(self, tokens, x):
        valid = (tokens != 0)[..., None]
        steps = torch.cat([self.embed(tokens), x], dim=2) * valid
        return self.gru(steps)[0].clamp(-0.9, 0.9) * valid
