"""Writes small random mixtures of experts with the scores and gradients that transformers gives.

    python experts.py directory [seed]

Each model is a directory: config.json, model.safetensors, stacked.safetensors with the
same weights as the library holds them (the experts of a layer in one tensor),
golden.json, which has sequences, their scores in float64, pairs and their Bradley-Terry
loss, and grads.safetensors with that loss's gradients. Sizes and switches are drawn by
the seed. Sequences have no token whose last chosen and first refused expert are so close
that rounding could exchange them. It needs transformers 5.
"""

import contextlib
import json
import random
import re
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    MixtralConfig, MixtralForSequenceClassification,
    Qwen2MoeConfig, Qwen2MoeForSequenceClassification,
    Qwen3MoeConfig, Qwen3MoeForSequenceClassification,
)

LENGTHS = [1, 3, 17, 33, 60, 61]
PAIRS = [[0, 1], [2, 3], [5, 4]]
MARGIN = 1e-4  # of router probabilities


@contextlib.contextmanager
def float64_throughout():
    """The library asks for float32 within norms and softmax by name."""
    names = ("float", "float32")
    kept, method = [getattr(torch, n) for n in names], torch.Tensor.float
    for n in names:
        setattr(torch, n, torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        for n, v in zip(names, kept):
            setattr(torch, n, v)
        torch.Tensor.float = method


def randomize(model):
    """Draws weights large enough that every part of the model shows in a score."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0, 0.9 / p.shape[-1] ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.1)
            else:
                p.normal_(1, 0.1)


def split(grads, mixtral):
    """Returns gradients under the names that files have, one tensor for each expert."""
    out = {}
    for name, g in grads.items():
        m = re.fullmatch(r"(.*)\.mlp\.experts\.(gate_up_proj|down_proj)", name)
        if m is None:
            out[name.replace(".mlp.gate.", ".block_sparse_moe.gate.") if mixtral else name] = g
            continue
        for i, e in enumerate(g):
            if m[2] == "down_proj":
                parts = {"w2" if mixtral else "down_proj": e}
            else:
                gate, up = e.chunk(2)
                parts = {"w1" if mixtral else "gate_proj": gate, "w3" if mixtral else "up_proj": up}
            for part, v in parts.items():
                block = "block_sparse_moe" if mixtral else "mlp"
                out[f"{m[1]}.{block}.experts.{i}.{part}.weight"] = v
    return {k: v.float().contiguous() for k, v in out.items()}


def margin(router_logits, top):
    """Returns the smallest gap between the last chosen and the first refused expert."""
    gap = 1.0
    for logits in router_logits:
        p = logits.softmax(-1).sort(-1, descending=True).values
        if top < p.shape[-1]:
            gap = min(gap, (p[:, top - 1] - p[:, top]).min().item())
    return gap


def write(directory, draw, cls, config):
    torch.manual_seed(draw.randrange(1 << 30))
    config.num_labels = 1
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = cls(config).eval()
    randomize(model)
    model.save_pretrained(directory)
    with tempfile.TemporaryDirectory() as stacked:
        model.save_pretrained(stacked, save_original_format=False)
        save_file(load_file(f"{stacked}/model.safetensors"), f"{directory}/stacked.safetensors")
    model = model.double()
    sequences, scores = [], []
    with float64_throughout():
        for n in LENGTHS:
            gap = 0
            while gap < MARGIN:
                ids = [draw.randrange(5, config.vocab_size) for _ in range(n)]
                routers = []
                hooks = [m.register_forward_hook(lambda _m, _x, y: routers.append(y[0]))
                         for m in model.modules() if type(m).__name__.endswith("TopKRouter")]
                y = model(input_ids=torch.tensor([ids])).logits
                for h in hooks:
                    h.remove()
                assert all(t.dtype == torch.float64 for t in [y, *routers])
                gap = margin([r.detach() for r in routers], config.num_experts_per_tok)
            sequences.append({"input_ids": ids})
            scores.append(y.reshape(()))
        loss = -torch.stack([torch.nn.functional.logsigmoid(scores[a] - scores[b]) for a, b in PAIRS]).mean()
        loss.backward()
    grads = {k: p.grad if p.grad is not None else torch.zeros_like(p) for k, p in model.named_parameters()}
    save_file(split(grads, cls is MixtralForSequenceClassification), f"{directory}/grads.safetensors")
    with open(f"{directory}/golden.json", "w") as f:
        json.dump({"sequences": sequences, "scores_f64": [s.item() for s in scores],
                   "pairs": PAIRS, "bt_loss_f64": loss.item()}, f)


def main():
    out = sys.argv[1]
    draw = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    pick = lambda *a: draw.choice(a)
    for i in range(4):
        experts = pick(2, 5, 8, 33)
        heads = pick(2, 4)
        layers = pick(2, 3, 4)
        base = dict(
            vocab_size=pick(90, 131), hidden_size=heads * pick(10, 16, 36), num_attention_heads=heads,
            num_key_value_heads=pick(1, 2), num_hidden_layers=layers, intermediate_size=pick(30, 64, 99),
            max_position_embeddings=80, hidden_act=pick("silu", "gelu"), pad_token_id=0,
            num_experts_per_tok=min(experts, pick(1, 2, 3, 5)),
        )
        window = pick(None, 9, 40)
        sparse = dict(
            norm_topk_prob=pick(True, False), moe_intermediate_size=pick(10, 32, 45),
            decoder_sparse_step=pick(1, 1, 2), mlp_only_layers=pick([], [0], [layers - 2]),
            use_sliding_window=window is not None, sliding_window=window,
        )
        write(f"{out}/mixtral-{i}", draw, MixtralForSequenceClassification,
              MixtralConfig(**base, num_local_experts=experts, sliding_window=window, head_dim=pick(None, 12)))
        write(f"{out}/qwen2-moe-{i}", draw, Qwen2MoeForSequenceClassification,
              Qwen2MoeConfig(**base, **sparse, num_experts=experts, qkv_bias=pick(True, False),
                             shared_expert_intermediate_size=pick(8, 50), max_window_layers=pick(1, 9)))
        write(f"{out}/qwen3-moe-{i}", draw, Qwen3MoeForSequenceClassification,
              Qwen3MoeConfig(**base, **sparse, num_experts=experts, head_dim=pick(8, 20),
                             attention_bias=pick(True, False)))


if __name__ == "__main__":
    main()
