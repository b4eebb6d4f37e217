"""Reads safetensors checkpoints as numpy arrays, mapped and not copied."""

import json
import mmap
import os

import numpy as np


def load(folder):
    """Returns (config, tensors) of a checkpoint folder; bfloat16 comes as uint16."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(folder, name)))
    return config, tensors


def load_file(path):
    """Maps one file copy-on-write, so that torch accepts it without a warning."""
    with open(path, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    types = {"F32": np.dtype("<f4"), "BF16": np.dtype("<u2")}
    tensors = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        lo, hi = t["data_offsets"]
        kind = types[t["dtype"]]
        flat = np.frombuffer(data, kind, (hi - lo) // kind.itemsize, 8 + size + lo)
        tensors[name] = flat.reshape(t["shape"])
    return tensors


class Shape:
    """The sizes of a configuration, with the defaults of transformers filled in."""

    def __init__(self, config):
        self.arch = config["architectures"][0]
        self.encoder = self.arch.startswith("Bert")
        self.qk_norm = self.arch.startswith("Qwen3")
        self.hidden = config["hidden_size"]
        self.inner = config["intermediate_size"]
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads", self.heads)
        self.head_dim = config.get("head_dim", self.hidden // self.heads)
        self.vocab = config["vocab_size"]
        self.context = config["max_position_embeddings"]
        self.theta = config.get("rope_theta", 10000.0)
        self.eps = config.get("layer_norm_eps", 1e-12) if self.encoder else config.get("rms_norm_eps", 1e-6)

    def flops(self, n, pruned=False):
        """Floating-point operations of the matrix products of one sequence of n
        tokens. pruned leaves out what the score does not need: in the last layer,
        all rows but the scored one after keys and values."""
        hd, kd = self.heads * self.head_dim, self.kv_heads * self.head_dim
        feed = (2 if self.encoder else 3) * self.hidden * self.inner
        keys, rest = 2 * self.hidden * kd, 2 * self.hidden * hd + feed
        total = 0
        for layer in range(self.layers):
            last = pruned and layer == self.layers - 1
            rows = 1 if last else n
            if self.encoder:
                pairs = rows * n
            else:
                pairs = n if last else n * (n + 1) // 2
            total += 2 * (n * keys + rows * rest) + 4 * hd * pairs
        return total


def token_ids(batch, length, vocab):
    """Ids for timing: below 4096, because llama.cpp is given that many rows of the
    vocabulary (see gguf.py). Speed does not depend on the ids."""
    return (np.arange(batch * length, dtype=np.int64) * 7919 % min(vocab, 4096)).reshape(batch, length)


def rope_table(shape, length):
    """Cosines and sines, (length, D/2) each, in float32."""
    d = shape.head_dim
    freq = 1.0 / shape.theta ** (np.arange(0, d, 2, dtype=np.float64) / d)
    angle = np.arange(length, dtype=np.float64)[:, None] * freq
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
