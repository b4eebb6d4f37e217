"""Writes a checkpoint for llama.cpp: gguf.py FOLDER, makes f32.gguf and bf16.gguf.

Two things are in llama.cpp's favour. The vocabulary is cut to 4096 rows (all ids
in these measurements are below), so that its output layer, which it computes for
every scored token, costs next to nothing. And a decoder's score is row 0 of that
output layer, all others being zero, because its plain prefill is about twice as
fast as its pooling of a decoder."""

import os
import struct
import sys

import numpy as np

import weights

ROWS = 4096
U32, I32, F32, BOOL, STRING = 4, 5, 6, 7, 8
TYPE_F32, TYPE_BF16 = 0, 30
ALIGN = 32


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def pair(key, kind, value):
    form = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}
    body = string(value) if kind == STRING else struct.pack(form[kind], value)
    return string(key) + struct.pack("<I", kind) + body


def bfloat16(a):
    """Rounds to nearest, ties to even; the weights are finite."""
    bits = np.ascontiguousarray(a).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def write(path, pairs, tensors, half):
    """tensors: name → float32 array. half stores matrices in bfloat16, as
    llama.cpp's own conversion does; position and type embeddings stay float32."""
    infos, blobs, offset = [], [], 0
    for name, a in tensors.items():
        small = a.ndim < 2 or name.startswith(("position_embd", "token_types"))
        to_half = half and not small
        infos.append(string(name) + struct.pack("<I", a.ndim) + struct.pack(f"<{a.ndim}Q", *a.shape[::-1]) +
                     struct.pack("<IQ", TYPE_BF16 if to_half else TYPE_F32, offset))
        blobs.append((a, to_half))
        offset += -(-a.size * (2 if to_half else 4) // ALIGN) * ALIGN
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join(pairs) + b"".join(infos))
        for a, to_half in blobs:
            f.write(b"\0" * (-f.tell() % ALIGN))
            np.ascontiguousarray(bfloat16(a) if to_half else a).tofile(f)
        f.write(b"\0" * (-f.tell() % ALIGN))


def common(s, arch):
    return [
        pair("general.architecture", STRING, arch),
        pair("tokenizer.ggml.model", STRING, "none"),
        pair(arch + ".vocab_size", U32, ROWS),
        pair(arch + ".context_length", U32, s.context),
        pair(arch + ".embedding_length", U32, s.hidden),
        pair(arch + ".feed_forward_length", U32, s.inner),
        pair(arch + ".block_count", U32, s.layers),
        pair(arch + ".attention.head_count", U32, s.heads),
    ]


def encoder(s, w):
    pairs = common(s, "bert") + [
        pair("bert.attention.layer_norm_epsilon", F32, s.eps),
        pair("bert.attention.causal", BOOL, False),
        pair("bert.pooling_type", U32, 4),  # rank: first token, pooler, tanh, classifier
        pair("tokenizer.ggml.token_type_count", U32, 2),
    ]
    p = "bert.embeddings."
    t = {
        "token_embd.weight": w[p + "word_embeddings.weight"][:ROWS],
        "token_types.weight": w[p + "token_type_embeddings.weight"],
        "position_embd.weight": w[p + "position_embeddings.weight"],
    }
    layers = {
        "attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
        "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
        "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm",
    }
    for kind in ("weight", "bias"):
        t["token_embd_norm." + kind] = w[p + "LayerNorm." + kind]
        t["cls." + kind] = w["bert.pooler.dense." + kind]
        t["cls.output." + kind] = w["classifier." + kind]
        for i in range(s.layers):
            for to, source in layers.items():
                t[f"blk.{i}.{to}.{kind}"] = w[f"bert.encoder.layer.{i}.{source}.{kind}"]
    return pairs, t


def decoder(s, w):
    arch = "qwen3" if s.qk_norm else "llama"
    pairs = common(s, arch) + [
        pair(arch + ".attention.head_count_kv", U32, s.kv_heads),
        pair(arch + ".attention.layer_norm_rms_epsilon", F32, s.eps),
        pair(arch + ".attention.key_length", U32, s.head_dim),
        pair(arch + ".attention.value_length", U32, s.head_dim),
        pair(arch + ".rope.dimension_count", U32, s.head_dim),
        pair(arch + ".rope.freq_base", F32, s.theta),
    ]
    head = np.zeros((ROWS, s.hidden), np.float32)
    head[0] = w["score.weight"][0]
    t = {
        "token_embd.weight": w["model.embed_tokens.weight"][:ROWS],
        "output_norm.weight": w["model.norm.weight"],
        "output.weight": head,
    }
    layers = {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    if s.qk_norm:
        layers.update(attn_q_norm="self_attn.q_norm", attn_k_norm="self_attn.k_norm")
    for i in range(s.layers):
        for to, source in layers.items():
            a = w[f"model.layers.{i}.{source}.weight"]
            if arch == "llama" and to in ("attn_q", "attn_k"):
                a = interleaved(a, s.heads if to == "attn_q" else s.kv_heads)
            t[f"blk.{i}.{to}.weight"] = a
    return pairs, t


def interleaved(a, heads):
    """Rows in the order of llama.cpp's rotation of Llama: pairs are neighbours."""
    return a.reshape(heads, 2, -1, a.shape[1]).swapaxes(1, 2).reshape(a.shape)


def main(folder):
    config, w = weights.load(folder)
    s = weights.Shape(config)
    pairs, tensors = (encoder if s.encoder else decoder)(s, w)
    for name in ("f32", "bf16"):
        write(os.path.join(folder, name + ".gguf"), pairs, tensors, name == "bf16")


if __name__ == "__main__":
    main(*sys.argv[1:])
