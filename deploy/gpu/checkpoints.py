"""Checkpoints of random weights for the servers, written while other steps run."""

import json
import os
import re
import shutil
import struct
import tempfile
import threading

from process import Process

ROOM = 24e9  # bytes that they take together


def store():
    """A folder for them: in memory where there is room, as weights in the page cache are."""
    memory = int(re.search(r"MemAvailable: +(\d+)", open("/proc/meminfo").read())[1]) << 10
    for parent in (["/dev/shm"] if memory > 3 * ROOM else []) + [tempfile.gettempdir()]:  # servers need some, too
        try:
            if shutil.disk_usage(parent).free > ROOM:
                return tempfile.mkdtemp(prefix="warm-check-", dir=parent)
        except OSError:
            continue
    raise OSError(f"neither /dev/shm nor {tempfile.gettempdir()} has {ROOM / 1e9:.0f} GB free for checkpoints")


class Writer:
    """Writes checkpoints one after the other in the background."""

    def __init__(self, warm, folder, wanted, logs):
        self.failed = {}
        self.ended, self.process = False, None
        self.done = {name: threading.Event() for name in wanted}
        self.thread = threading.Thread(target=self.write, args=(warm, folder, wanted, logs), daemon=True)
        self.thread.start()

    def write(self, warm, folder, wanted, logs):
        for name, (config, seed) in wanted.items():
            if self.ended:
                return
            try:
                p = self.process = Process([warm, "bench", "checkpoint", "--random", config, "--words", "--dtype", "BF16", "--seed", str(seed),
                             os.path.join(folder, name)], os.path.join(logs, f"checkpoint-{name}.log"))
                if code := p.wait(120):
                    self.failed[name] = f"exit status {code}: {p.text().strip()[-300:]}"
            except Exception as e:  # whoever waits is told
                self.failed[name] = f"{type(e).__name__}: {e}"
            self.done[name].set()

    def end(self):
        self.ended = True
        if self.process:
            self.process.kill()

    def wait(self, name, limit):
        """Waits until one is there; the reason why it is not."""
        if not self.done[name].wait(limit):
            return f"the checkpoint was not written within {limit:.0f} s more"
        return self.failed.get(name)


def huge(folder, layers=120, hidden=8192, ff=28672, heads=64, kv=8, vocab=128256):
    """A Llama checkpoint that fits no card, 207 GB as it stands: a file of zeros that takes no room."""
    os.makedirs(folder)
    d = hidden // heads
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden], "score.weight": [1, hidden]}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name, shape in {"input_layernorm": [hidden], "post_attention_layernorm": [hidden],
                            "self_attn.q_proj": [hidden, hidden], "self_attn.o_proj": [hidden, hidden],
                            "self_attn.k_proj": [kv * d, hidden], "self_attn.v_proj": [kv * d, hidden],
                            "mlp.gate_proj": [ff, hidden], "mlp.up_proj": [ff, hidden], "mlp.down_proj": [hidden, ff]}.items():
            shapes[p + name + ".weight"] = shape
    at, header = 0, {}
    for name, shape in shapes.items():
        n = 2
        for s in shape:
            n *= s
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({"architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "hidden_size": hidden,
                   "intermediate_size": ff, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv,
                   "head_dim": d, "vocab_size": vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 5e5,
                   "hidden_act": "silu", "id2label": {"0": "LABEL_0"}}, f)
    return at
