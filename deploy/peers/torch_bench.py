"""Times PyTorch on one checkpoint: torch_bench.py FOLDER THREADS SHAPES ROUNDS CHECK.

SHAPES is "32x128,1x32"; CHECK a JSON file of lists of ids to be scored, or "-".
Prints one JSON object. bench.py sets the environment that makes torch fast."""

import json
import os
import sys
import time

import torch

import models
import weights


def main(folder, threads, shapes, rounds, check):
    torch.set_num_threads(int(threads))
    torch.set_num_interop_threads(1)
    start = time.perf_counter()
    model, s = models.load(folder)
    out = {"load_seconds": time.perf_counter() - start, "seconds": {}, "version": torch.__version__}
    with torch.inference_mode():
        if check != "-":
            with open(check) as f:
                out["scores"] = [model(torch.tensor([ids])).item() for ids in json.load(f)]
        for shape in filter(None, shapes.split(",")):
            batch, length = map(int, shape.split("x"))
            ids = torch.from_numpy(weights.token_ids(batch, length, s.vocab))
            model(ids)
            times = out["seconds"][shape] = []
            for _ in range(int(rounds)):
                start = time.perf_counter()
                model(ids)
                times.append(time.perf_counter() - start)
    with open("/proc/self/statm") as f:
        out["rss_bytes"] = int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    print(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
