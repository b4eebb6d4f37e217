"""PyTorch on the same card, for check.sh: the best of it, and what people run.

    torch_bench.py [--wait FILE] [packed] [transformers]

packed is a forward pass made for the card: no padding, fused QKV and gate-up, elementwise
parts compiled, cuBLAS, cuDNN's attention, all of it in one CUDA graph. transformers is its
AutoModelForSequenceClassification with sdpa, which pads. Random weights in bfloat16, no
tokenizer. With --wait the card is left alone until FILE is there: importing takes most of
a minute, and whatever runs meanwhile is timed alone.
"""

import os
import statistics
import sys
import time

start = time.time()
import torch
import torch.nn.functional as F

BF16 = torch.bfloat16
CARD = "cuda"
MODELS = {
    "qwen3-0.6b": dict(layers=28, hidden=1024, heads=16, kv=8, ff=3072, vocab=151936, norm=True),
    "llama-3.1-8b": dict(layers=32, hidden=4096, heads=32, kv=8, ff=14336, vocab=128256, norm=False),
}
SHAPES = ((32, 512), (8, 2048), (1, 512))


def rounds_of(model):
    return 5 if model["hidden"] < 2048 else 3


def timed(f, rounds):
    """Median milliseconds of f on the card."""
    t = []
    for _ in range(rounds):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        f()
        b.record()
        torch.cuda.synchronize()
        t.append(a.elapsed_time(b))
    return statistics.median(t)


def timed_graph(f, rounds):
    """The same of f as one CUDA graph."""
    s = torch.cuda.Stream()
    s.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(s):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(s)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        f()
    g.replay()
    return timed(g.replay, rounds)


def tell(what, name, shape, tokens, ms, more=""):
    print(f"{what} {name} {shape}: {ms:8.2f} ms {tokens / ms * 1e3:10.0f} tokens/s{more}", flush=True)


def rms(x, w):
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-6)).to(BF16) * w


def layer(x, wqkv, wo, wgu, wd, n1, n2, qn, kn, cos, sin, b, s, h, kv, norm):
    t = x.shape[0]
    qkv = F.linear(rms(x, n1), wqkv).view(t, h + 2 * kv, 128)
    q, k, v = qkv.split((h, kv, kv), 1)
    if norm:
        q, k = rms(q, qn), rms(k, kn)
    rot = lambda y: torch.cat((-y[..., 64:], y[..., :64]), -1)
    q, k = q * cos + rot(q) * sin, k * cos + rot(k) * sin
    q, k, v = (y.view(b, s, -1, 128).transpose(1, 2) for y in (q, k, v))
    a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).reshape(t, h * 128)
    x = x + F.linear(a, wo)
    g, u = F.linear(rms(x, n2), wgu).chunk(2, -1)
    return x + F.linear(F.silu(g) * u, wd)


@torch.inference_mode()
def packed():
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(True)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_math_sdp(False)
    for name, c in MODELS.items():
        d, h, kv, ff = c["hidden"], c["heads"], c["kv"], c["ff"]
        r = lambda *s: torch.randn(*s, device=CARD, dtype=BF16) * 0.02
        ws = [(r((h + 2 * kv) * 128, d), r(d, h * 128), r(2 * ff, d), r(d, ff)) for _ in range(c["layers"])]
        one, one128 = torch.ones(d, device=CARD, dtype=BF16), torch.ones(128, device=CARD, dtype=BF16)
        emb, head = r(c["vocab"], d), r(1, d)
        for b, n in SHAPES:
            t0 = time.time()
            torch._dynamo.reset()
            f = torch.compile(layer, dynamic=False)
            ids = torch.randint(1, c["vocab"], (b * n,), device=CARD)
            pos = torch.arange(n, device=CARD).repeat(b)
            ang = pos[:, None] / 1e6 ** (torch.arange(64, device=CARD) / 64)
            cos, sin = (torch.cat((y, y), -1).to(BF16)[:, None] for y in (ang.cos(), ang.sin()))
            last = torch.arange(n - 1, b * n, n, device=CARD)

            def forward():
                x = F.embedding(ids, emb)
                for w in ws:
                    x = f(x, *w, one, one, one128, one128, cos, sin, b, n, h, kv, c["norm"])
                return F.linear(rms(x[last], one), head)

            try:
                forward()
                tell("packed", name, f"{b}x{n}", b * n, timed_graph(forward, rounds_of(c)), f" ({time.time() - t0:.0f} s)")
            except Exception as e:
                print(f"packed {name} {b}x{n} failed: {type(e).__name__} {str(e)[:200]!r}", flush=True)
        del ws, emb
        torch.cuda.empty_cache()


def pretrained(c):
    from transformers import LlamaConfig, LlamaForSequenceClassification, Qwen3Config, Qwen3ForSequenceClassification
    kw = dict(hidden_size=c["hidden"], intermediate_size=c["ff"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"],
              num_key_value_heads=c["kv"], head_dim=128, vocab_size=c["vocab"], max_position_embeddings=32768, num_labels=1,
              pad_token_id=0, use_cache=False, attn_implementation="sdpa")
    torch.set_default_dtype(BF16)
    try:
        with torch.device(CARD):
            m = Qwen3ForSequenceClassification(Qwen3Config(**kw)) if c["norm"] else LlamaForSequenceClassification(LlamaConfig(**kw))
    finally:
        torch.set_default_dtype(torch.float32)
    return m.eval()


@torch.inference_mode()
def transformers():
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(True)
    torch.backends.cuda.enable_mem_efficient_sdp(True)
    torch.backends.cuda.enable_math_sdp(True)
    for name, c in MODELS.items():
        m = pretrained(c)
        for b, n in SHAPES:
            ids = torch.randint(1, c["vocab"], (b, n), device=CARD)
            mask = torch.ones_like(ids)
            f = lambda: m(input_ids=ids, attention_mask=mask).logits
            f(), f()
            tell("transformers", name, f"{b}x{n}", b * n, timed(f, rounds_of(c)))
        lens = torch.randint(32, 992, (32,), generator=torch.Generator().manual_seed(1)).tolist()
        ids = torch.randint(1, c["vocab"], (32, max(lens)), device=CARD)
        mask = (torch.arange(max(lens), device=CARD)[None] < torch.tensor(lens, device=CARD)[:, None]).long()
        ids = ids * mask
        f = lambda: m(input_ids=ids, attention_mask=mask).logits
        f(), f()
        tell("transformers", name, "ragged", sum(lens), timed(f, 3), f" ({sum(lens)} tokens padded to {32 * max(lens)})")
        del m
        torch.cuda.empty_cache()


def main():
    args = sys.argv[1:]
    wait = None
    if args[:1] == ["--wait"]:
        wait, args = args[1], args[2:]
    parts = args or ["packed", "transformers"]
    if "transformers" in parts:
        try:
            import transformers as library
            from transformers import LlamaForSequenceClassification, Qwen3ForSequenceClassification  # slow, too
            print("transformers", library.__version__, flush=True)
        except Exception as e:
            print(f"transformers cannot be imported: {e}", flush=True)
            parts.remove("transformers")
    imported = time.time() - start
    while wait and not os.path.exists(wait):
        time.sleep(0.05)
    torch.manual_seed(0)
    print(f"torch {torch.__version__} {torch.cuda.get_device_name()} imported in {imported:.0f} s", flush=True)
    for part in parts:
        t = time.time()
        globals()[part]()
        print(f"({part} took {time.time() - t:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
