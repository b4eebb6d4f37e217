"""Times a training step in PyTorch: train.py FOLDER THREADS STEPS [DTYPE].

16 preference pairs of 2 x 128 tokens, Bradley-Terry loss, AdamW: forward, backward
and update. DTYPE is f32, the default, or bf16: weights in float32, products in bfloat16
as torch.autocast has them. Prints one JSON object."""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import models

PAIRS, LENGTH = 16, 128


def main(folder, threads, steps, dtype="f32"):
    torch.set_num_threads(int(threads))
    model, s = models.load(folder)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, s.vocab, (2 * PAIRS, LENGTH)))
    phases = {"forward": [], "backward": [], "update": []}
    losses = []
    for _ in range(int(steps) + 1):
        marks = [time.perf_counter()]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            rewards = model(ids)
        rewards = rewards.float()
        loss = -F.logsigmoid(rewards[:PAIRS] - rewards[PAIRS:]).mean()
        marks.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        losses.append(loss.item())
        for phase, a, b in zip(phases, marks, marks[1:]):
            phases[phase].append(b - a)
    assert losses[-1] < losses[0], losses
    seconds = [sum(p[i] for p in phases.values()) for i in range(1, int(steps) + 1)]
    with open("/proc/self/statm") as f:
        rss = int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    out = {"seconds": seconds, "rss_bytes": rss, "phases": {k: v[1:] for k, v in phases.items()}, "losses": losses,
           "tokens": 2 * PAIRS * LENGTH, "flops": 3 * 2 * PAIRS * s.flops(LENGTH)}
    print(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
