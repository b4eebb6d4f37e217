"""The measured architectures in plain torch: a BERT encoder, and a decoder that
is Llama or, with norms on queries and keys, Qwen3. One score a sequence."""

import torch
import torch.nn.functional as F
from torch import nn

import weights

# Torch 2 has attention in one operation; Debian 12 ships 1.13, which has not.
FUSED = hasattr(F, "scaled_dot_product_attention")


def attend(q, k, v, causal):
    """q, k, v: (B, H, T, D). Returns (B, H, T, D)."""
    if FUSED:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        t = q.shape[2]
        scores = scores + torch.full((t, t), float("-inf")).triu(1)
    return torch.softmax(scores, -1) @ v


class RMSNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class EncoderBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.qkv = nn.Linear(s.hidden, 3 * s.hidden)
        self.o = nn.Linear(s.hidden, s.hidden)
        self.norm1 = nn.LayerNorm(s.hidden, s.eps)
        self.up = nn.Linear(s.hidden, s.inner)
        self.down = nn.Linear(s.inner, s.hidden)
        self.norm2 = nn.LayerNorm(s.hidden, s.eps)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.s.heads, self.s.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        a = attend(q, k, v, False).transpose(1, 2).reshape(b, t, -1)
        x = self.norm1(x + self.o(a))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.words = nn.Embedding(s.vocab, s.hidden)
        self.positions = nn.Embedding(s.context, s.hidden)
        self.types = nn.Embedding(2, s.hidden)
        self.norm = nn.LayerNorm(s.hidden, s.eps)
        self.blocks = nn.ModuleList(EncoderBlock(s) for _ in range(s.layers))
        self.pooler = nn.Linear(s.hidden, s.hidden)
        self.score = nn.Linear(s.hidden, 1)

    def forward(self, ids):
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return self.score(torch.tanh(self.pooler(x[:, 0]))).squeeze(-1)

    def fill(self, w):
        copy(self.words.weight, w["bert.embeddings.word_embeddings.weight"])
        copy(self.positions.weight, w["bert.embeddings.position_embeddings.weight"])
        copy(self.types.weight, w["bert.embeddings.token_type_embeddings.weight"])
        linear(self.norm, w, "bert.embeddings.LayerNorm")
        for i, b in enumerate(self.blocks):
            p = f"bert.encoder.layer.{i}."
            linear(b.qkv, w, *(p + "attention.self." + n for n in ("query", "key", "value")))
            linear(b.o, w, p + "attention.output.dense")
            linear(b.norm1, w, p + "attention.output.LayerNorm")
            linear(b.up, w, p + "intermediate.dense")
            linear(b.down, w, p + "output.dense")
            linear(b.norm2, w, p + "output.LayerNorm")
        linear(self.pooler, w, "bert.pooler.dense")
        linear(self.score, w, "classifier")


class DecoderBlock(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.norm1 = RMSNorm(s.hidden, s.eps)
        self.qkv = nn.Linear(s.hidden, (s.heads + 2 * s.kv_heads) * s.head_dim, bias=False)
        self.q_norm = RMSNorm(s.head_dim, s.eps) if s.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(s.head_dim, s.eps) if s.qk_norm else nn.Identity()
        self.o = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.norm2 = RMSNorm(s.hidden, s.eps)
        self.gate_up = nn.Linear(s.hidden, 2 * s.inner, bias=False)
        self.down = nn.Linear(s.inner, s.hidden, bias=False)

    def forward(self, x, cos, sin):
        s, (b, t, _) = self.s, x.shape
        heads = self.qkv(self.norm1(x)).view(b, t, -1, s.head_dim).transpose(1, 2)
        q, k, v = heads.split([s.heads, s.kv_heads, s.kv_heads], 1)
        q, k = rotate(self.q_norm(q), cos, sin), rotate(self.k_norm(k), cos, sin)
        if s.kv_heads != s.heads:
            k, v = (y.repeat_interleave(s.heads // s.kv_heads, 1) for y in (k, v))
        x = x + self.o(attend(q, k, v, True).transpose(1, 2).reshape(b, t, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Decoder(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embed = nn.Embedding(s.vocab, s.hidden)
        self.blocks = nn.ModuleList(DecoderBlock(s) for _ in range(s.layers))
        self.norm = RMSNorm(s.hidden, s.eps)
        self.score = nn.Linear(s.hidden, 1, bias=False)
        cos, sin = weights.rope_table(s, min(s.context, 2048))
        self.register_buffer("cos", torch.from_numpy(cos))
        self.register_buffer("sin", torch.from_numpy(sin))

    def forward(self, ids):
        t = ids.shape[1]
        x, cos, sin = self.embed(ids), self.cos[:t], self.sin[:t]
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.score(self.norm(x[:, -1])).squeeze(-1)

    def fill(self, w):
        copy(self.embed.weight, w["model.embed_tokens.weight"])
        for i, b in enumerate(self.blocks):
            p = f"model.layers.{i}."
            copy(b.norm1.weight, w[p + "input_layernorm.weight"])
            linear(b.qkv, w, *(p + "self_attn." + n for n in ("q_proj", "k_proj", "v_proj")))
            if b.s.qk_norm:
                copy(b.q_norm.weight, w[p + "self_attn.q_norm.weight"])
                copy(b.k_norm.weight, w[p + "self_attn.k_norm.weight"])
            linear(b.o, w, p + "self_attn.o_proj")
            copy(b.norm2.weight, w[p + "post_attention_layernorm.weight"])
            linear(b.gate_up, w, p + "mlp.gate_proj", p + "mlp.up_proj")
            linear(b.down, w, p + "mlp.down_proj")
        copy(self.norm.weight, w["model.norm.weight"])
        copy(self.score.weight, w["score.weight"])


@torch.no_grad()
def copy(parameter, array, row=0):
    parameter[row : row + len(array)].copy_(torch.from_numpy(array))


def linear(module, w, *names):
    """Copies weights and biases of one or several layers below each other."""
    for kind in ("weight", "bias"):
        target, row = getattr(module, kind), 0
        if target is None:
            continue
        for n in names:
            a = w[f"{n}.{kind}"]
            copy(target, a, row)
            row += len(a)
        assert row == len(target), (names, row)


def load(folder):
    """Returns the model of a checkpoint folder and its Shape."""
    config, w = weights.load(folder)
    s = weights.Shape(config)
    with torch.no_grad():
        init = torch.nn.init
        saved = init.kaiming_uniform_, init.normal_, init.uniform_
        try:  # random initial values of 600 million weights take half a minute
            init.kaiming_uniform_ = init.normal_ = init.uniform_ = lambda t, *a, **k: t
            model = (Encoder if s.encoder else Decoder)(s)
        finally:
            init.kaiming_uniform_, init.normal_, init.uniform_ = saved
        model.fill(w)
    return model.eval(), s
