"""Averages checkpoints in PyTorch: average.py THREADS FOLDER...

Tensor by tensor, in place into the first one's copy in float32, and a second time
into memory that is there already. Prints one JSON object."""

import json
import sys
import time

import torch

import weights


def tensor(array):
    t = torch.from_numpy(array)
    return (t.view(torch.bfloat16) if t.dtype == torch.int16 else t).float()


def average(folders, out):
    """Returns seconds and bytes read."""
    start, read = time.perf_counter(), 0
    members = [weights.load(f)[1] for f in folders]
    for name in members[0]:
        arrays = [m[name] for m in members]
        if arrays[0].dtype == "uint16":
            arrays = [a.view("int16") for a in arrays]
        read += sum(a.nbytes for a in arrays)
        if name not in out:
            out[name] = torch.empty(arrays[0].shape)
        mean = out[name]
        mean.copy_(tensor(arrays[0]))
        for a in arrays[1:]:
            mean.add_(tensor(a))
        mean.mul_(1 / len(arrays))
    return time.perf_counter() - start, read


def main(threads, *folders):
    torch.set_num_threads(int(threads))
    out = {}
    with torch.inference_mode():
        first, read = average(folders, out)
        again, _ = average(folders, out)
    print(json.dumps({"seconds": first, "seconds_into_warm_memory": again, "bytes_read": read,
                      "checksum": float(sum(t.double().sum() for t in out.values()))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
