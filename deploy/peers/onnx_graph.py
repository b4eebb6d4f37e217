"""Writes the ONNX graphs of a checkpoint: onnx_graph.py FOLDER [--current].

export.onnx  what torch.onnx.export makes of models.py (not over 2 GB: one
             protocol buffer cannot hold more; not with --current, whose torch
             needs another package for it)
fused.onnx   the same network in ONNX Runtime's own fused operations
int8.onnx    fused.onnx with every weight matrix in int8, quantised a column, and
             activations quantised a tensor at run time (dynamic quantisation)

Prints the names of what it wrote."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

import models
import weights

MS = "com.microsoft"


class Graph:
    """Collects nodes; initialisers go to a file beside the model."""

    def __init__(self, path, int8):
        self.path, self.int8 = path, int8
        self.data = open(path + ".data", "wb")
        self.nodes, self.initializers, self.count = [], [], 0

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"{kind}_{self.count}_{i}" for i in range(outputs)]
        self.count += 1
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def value(self, array):
        """An initialiser; large ones lie outside of the model's own file."""
        array = np.asarray(array, order="C")
        name = f"value_{self.count}"
        self.count += 1
        kind = helper.np_dtype_to_tensor_dtype(array.dtype) if hasattr(helper, "np_dtype_to_tensor_dtype") else onnx.mapping.NP_TYPE_TO_TENSOR_TYPE[array.dtype]
        t = TensorProto(name=name, data_type=kind, dims=array.shape)
        if array.nbytes < 1024:
            t.raw_data = array.tobytes()
        else:
            self.data.write(b"\0" * (-self.data.tell() % 4096))
            t.data_location = TensorProto.EXTERNAL
            for k, v in (("location", os.path.basename(self.path) + ".data"), ("offset", self.data.tell()), ("length", array.nbytes)):
                t.external_data.add(key=k, value=str(v))
            array.tofile(self.data)
        self.initializers.append(t)
        return name

    def matmul(self, x, *arrays):
        """x · Wᵀ for weights of shape (out, in) below each other."""
        w = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        if not self.int8:
            return self.op("MatMul", x, self.value(w.T))
        scale = np.maximum(np.abs(w).max(1), 1e-30) / 127
        q = np.clip(np.rint(w / scale[:, None]), -127, 127).astype(np.int8)
        xq, xs, xz = self.quantised(x)
        y = self.op("MatMulInteger", xq, self.value(q.T), xz)
        return self.op("Mul", self.op("Cast", y, to=TensorProto.FLOAT), self.op("Mul", xs, self.value(scale.astype(np.float32))))

    def quantised(self, x):
        """x in uint8 with scale and zero point, once for all who read x."""
        for n in self.nodes:
            if n.op_type == "DynamicQuantizeLinear" and n.input[0] == x:
                return list(n.output)
        return self.op("DynamicQuantizeLinear", x, outputs=3)

    def linear(self, x, w, *names):
        return self.op("Add", self.matmul(x, *(w[n + ".weight"] for n in names)), self.bias(w, *names))

    def bias(self, w, *names):
        return self.value(np.concatenate([w[n + ".bias"] for n in names]))

    def save(self, score):
        self.data.close()
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
        out = helper.make_tensor_value_info(score, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "model", [ids], [out], self.initializers)
        opset = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), self.path)


def encoder(g, s, w):
    p = "bert.embeddings."
    x = g.op("Gather", g.value(w[p + "word_embeddings.weight"]), "ids")
    types = w[p + "token_type_embeddings.weight"][0]
    length = g.op("Gather", g.op("Shape", "ids"), g.value(np.array([1], np.int64)))
    zero = g.value(np.array([0], np.int64))
    positions = g.op("Slice", g.value(w[p + "position_embeddings.weight"] + types), zero, length, zero)
    x = norm(g, g.op("Add", x, positions), s, w, p + "LayerNorm")
    for i in range(s.layers):
        p = f"bert.encoder.layer.{i}."
        names = [p + "attention.self." + n for n in ("query", "key", "value")]
        if g.int8:
            q, k, v = g.op("Split", g.matmul(x, *(w[n + ".weight"] for n in names)), outputs=3, axis=-1)
            a = g.op("MultiHeadAttention", q, k, v, g.bias(w, *names), domain=MS, num_heads=s.heads)
        else:
            matrix = np.concatenate([w[n + ".weight"] for n in names]).T
            a = g.op("Attention", x, g.value(matrix), g.bias(w, *names), domain=MS, num_heads=s.heads)
        x = skip_norm(g, g.matmul(a, w[p + "attention.output.dense.weight"]), x, s, w, p + "attention.output")
        h = g.op("BiasGelu", g.matmul(x, w[p + "intermediate.dense.weight"]), g.bias(w, p + "intermediate.dense"), domain=MS)
        x = skip_norm(g, g.matmul(h, w[p + "output.dense.weight"]), x, s, w, p + "output")
    first = g.op("Gather", x, g.value(np.array(0, np.int64)), axis=1)
    pooled = g.op("Tanh", g.linear(first, w, "bert.pooler.dense"))
    return g.op("Gemm", pooled, g.value(w["classifier.weight"]), g.value(w["classifier.bias"]), transB=1)


def norm(g, x, s, w, name):
    return g.op("LayerNormalization", x, g.value(w[name + ".weight"]), g.value(w[name + ".bias"]), axis=-1, epsilon=s.eps)


def skip_norm(g, y, x, s, w, name):
    """norm(x + y + bias)"""
    n = name + ".LayerNorm"
    return g.op("SkipLayerNormalization", y, x, g.value(w[n + ".weight"]), g.value(w[n + ".bias"]), g.bias(w, name + ".dense"), domain=MS, epsilon=s.eps)


def decoder(g, s, w):
    length = 2048
    cos, sin = weights.rope_table(s, length)
    cos, sin = g.value(cos), g.value(sin)
    shape = g.op("Shape", "ids")
    batch = g.op("Gather", shape, g.value(np.array([0], np.int64)))
    total = g.op("Cast", g.op("Gather", shape, g.value(np.array(1, np.int64))), to=TensorProto.INT32)
    last = g.op("Expand", g.op("Sub", total, g.value(np.array(1, np.int32))), batch)
    x = g.op("Gather", g.value(w["model.embed_tokens.weight"]), "ids")
    y = rms(g, x, s, w["model.layers.0.input_layernorm.weight"])
    for i in range(s.layers):
        p = f"model.layers.{i}."
        q, k, v = (g.matmul(y, w[p + f"self_attn.{n}_proj.weight"]) for n in "qkv")
        if s.qk_norm:
            q = head_norm(g, q, s, s.heads, w[p + "self_attn.q_norm.weight"])
            k = head_norm(g, k, s, s.kv_heads, w[p + "self_attn.k_norm.weight"])
        a = g.op("GroupQueryAttention", q, k, v, "", "", last, total, cos, sin, outputs=3, domain=MS,
                 num_heads=s.heads, kv_num_heads=s.kv_heads, do_rotary=1)[0]
        x, y = skip_rms(g, g.matmul(a, w[p + "self_attn.o_proj.weight"]), x, s, w[p + "post_attention_layernorm.weight"])
        gate = g.op("QuickGelu", g.matmul(y, w[p + "mlp.gate_proj.weight"]), domain=MS, alpha=1.0)
        h = g.op("Mul", gate, g.matmul(y, w[p + "mlp.up_proj.weight"]))
        after = f"model.layers.{i + 1}.input_layernorm.weight" if i + 1 < s.layers else "model.norm.weight"
        x, y = skip_rms(g, g.matmul(h, w[p + "mlp.down_proj.weight"]), x, s, w[after])
    end = g.op("Gather", y, g.value(np.array(-1, np.int64)), axis=1)
    return g.op("MatMul", end, g.value(w["score.weight"].T))


def rms(g, x, s, weight):
    return g.op("SimplifiedLayerNormalization", x, g.value(weight), axis=-1, epsilon=s.eps)


def skip_rms(g, y, x, s, weight):
    """Returns x + y and its norm."""
    out = g.op("SkipSimplifiedLayerNormalization", y, x, g.value(weight), outputs=4, domain=MS, epsilon=s.eps)
    node = g.nodes[-1]
    node.output[1] = node.output[2] = ""
    return out[3], out[0]


def head_norm(g, x, s, heads, weight):
    split = g.op("Reshape", x, g.value(np.array([0, 0, heads, s.head_dim], np.int64)))
    return g.op("Reshape", rms(g, split, s, weight), g.value(np.array([0, 0, heads * s.head_dim], np.int64)))


def export(folder, path):
    import torch

    model, s = models.load(folder)
    ids = torch.zeros(2, 8, dtype=torch.long)
    axes = {"ids": {0: "batch", 1: "length"}}
    torch.onnx.export(model, (ids,), path, input_names=["ids"], output_names=["score"], dynamic_axes=axes, opset_version=17)


def main(folder, current=""):
    config, w = weights.load(folder)
    s = weights.Shape(config)
    made = []
    if not current and sum(a.nbytes for a in w.values()) < 2_000_000_000:
        export(folder, os.path.join(folder, "export.onnx"))
        made.append("export")
    for name in ("fused", "int8"):
        g = Graph(os.path.join(folder, name + ".onnx"), name == "int8")
        g.save((encoder if s.encoder else decoder)(g, s, w))
        made.append(name)
    print(" ".join(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
