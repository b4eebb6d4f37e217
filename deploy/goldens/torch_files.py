"""Writes small files of torch.save, and what they hold as safetensors.

    python torch_files.py ../../loader/torchfile/testdata

Each NAME.bin is written by torch, in every form that training code leaves
behind: element types, pickle protocols 2 to 5, the format before 1.6, shared
and strided storages, parameters. NAME.safetensors has the same tensors,
contiguous. Files that a reader should refuse are in refused/.
"""

import collections
import os
import sys

import torch
from safetensors.torch import save_file

out = sys.argv[1]
os.makedirs(os.path.join(out, "refused"), exist_ok=True)
torch.manual_seed(1)


def write(name, state, expect=None, **options):
    torch.save(state, os.path.join(out, name + ".bin"), **options)
    expect = expect if expect is not None else state
    save_file({k: v.detach().clone().contiguous() for k, v in expect.items()}, os.path.join(out, name + ".safetensors"))


def state_of(module):
    return module.state_dict()


module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
matrix = torch.randn(4, 6)
dtypes = {str(d).removeprefix("torch."): torch.randn(2, 3).to(d) for d in
          (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)}
dtypes |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
special = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45, 3.4e38])

write("state_dict", state_of(module))  # an OrderedDict with _metadata
write("dtypes", dtypes)
write("special", {"float32": special, "bfloat16": special.to(torch.bfloat16), "float16": special.to(torch.float16)})
write("shared", {"embed.weight": matrix, "lm_head.weight": matrix, "row": matrix[1], "block": matrix[1:3]})
write("strided", {"turned": matrix.t(), "columns": matrix[:, 1:4], "steps": matrix[::2, ::3], "cube": torch.randn(2, 3, 4).permute(2, 0, 1),
                  "ones": torch.randn(3, 1, 2).transpose(0, 1)})
write("parameters", dict(module.named_parameters()))
for protocol in (3, 4, 5):
    write(f"protocol{protocol}", state_of(module), pickle_protocol=protocol)
write("legacy", state_of(module) | {"turned": matrix.t(), "again": matrix, "half": matrix.to(torch.float16)}, _use_new_zipfile_serialization=False)
write("many", collections.OrderedDict((f"layer.{i}.weight", torch.full((2,), float(i))) for i in range(60)),
      _use_new_zipfile_serialization=False)  # LONG_BINPUT, more than 256 memo entries, SETITEMS in batches
write("nested_numbers", {"big": torch.arange(70_000, dtype=torch.int64)[69_990:].clone(), "wide": torch.zeros(1, 300)})


class Runs:
    def __reduce__(self):
        return os.system, ("echo this must never run",)


def refuse(name, value, **options):
    torch.save(value, os.path.join(out, "refused", name + ".bin"), **options)


refuse("system", {"weight": torch.ones(2), "other": Runs()})
refuse("system_legacy", {"weight": torch.ones(2), "other": Runs()}, _use_new_zipfile_serialization=False)
refuse("module", module)
refuse("list", [torch.ones(2)])
refuse("number", {"weight": torch.ones(2), "epoch": 3})
refuse("nested", {"state_dict": {"weight": torch.ones(2)}})
refuse("expanded", {"weight": torch.ones(1).expand(5)})
refuse("complex", {"weight": torch.ones(2, dtype=torch.complex64)})
refuse("float8", {"weight": torch.ones(2).to(torch.float8_e4m3fn)})
refuse("sparse", {"weight": torch.eye(3).to_sparse()})
refuse("quantised", {"weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)})
refuse("script_like", {"weight": torch.ones(2), "args": __import__("argparse").Namespace(lr=1)})
