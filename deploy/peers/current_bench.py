"""Times one of today's engines from PyPI on one checkpoint:

    current_bench.py ENGINE DTYPE FOLDER THREADS SHAPES ROUNDS CHECK

ENGINE is pytorch, onnxruntime or openvino, DTYPE f32, bf16 or int8; SHAPES is
"32x128,1x32"; CHECK a JSON file of lists of ids to be scored, or "-". Prints one JSON
object. Besides the time that passed in each round it holds the processor time of all
threads, which with one thread is what the round would take on an idle machine."""

import contextlib
import importlib.metadata
import json
import os
import sys
import time

import numpy as np

import weights


def pytorch(folder, dtype, threads):
    import torch

    import models

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch.set_grad_enabled(False)
    model, _ = models.load(folder)
    if dtype == "bf16":
        model = model.bfloat16()  # weights, activations and attention
    return lambda ids: model(torch.from_numpy(ids)).float().numpy()


def onnxruntime(folder, dtype, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    name = {"f32": "fused.onnx", "int8": "int8.onnx"}[dtype]
    session = ort.InferenceSession(os.path.join(folder, name), options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(None, {"ids": ids})[0]


def openvino(folder, dtype, threads):
    """The network of models.py as OpenVINO converts it; int8 is its own quantisation, of
    weights a column and activations a tensor, calibrated on sixteen sequences."""
    import openvino as ov
    import torch

    import models

    torch.set_grad_enabled(False)
    model, s = models.load(folder)
    example = torch.zeros(2, 8, dtype=torch.long)
    graph = ov.convert_model(model, example_input=example, input=[("ids", [-1, -1], ov.Type.i64)])
    del model
    if dtype == "int8":
        import nncf

        rows = [weights.token_ids(i + 1, 64, s.vocab)[-1:] for i in range(16)]
        graph = nncf.quantize(graph, nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER)
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bf16" else "f32"}
    request = ov.Core().compile_model(graph, "CPU", settings).create_infer_request()
    return lambda ids: np.array(request.infer([ids])[0])


def main(engine, dtype, folder, threads, shapes, rounds, check):
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # quantisation shows its progress there
        score = {"pytorch": pytorch, "onnxruntime": onnxruntime, "openvino": openvino}[engine](folder, dtype, int(threads))
    with open(os.path.join(folder, "config.json")) as f:
        s = weights.Shape(json.load(f))
    version = importlib.metadata.version("torch" if engine == "pytorch" else engine)
    out = {"load_seconds": time.perf_counter() - start, "seconds": {}, "cpu_seconds": {}, "version": version}
    if check != "-":
        with open(check) as f:
            out["scores"] = [float(score(np.array([ids], np.int64)).reshape(-1)[0]) for ids in json.load(f)]
    for shape in filter(None, shapes.split(",")):
        batch, length = map(int, shape.split("x"))
        ids = weights.token_ids(batch, length, s.vocab)
        score(ids)
        times, used = out["seconds"].setdefault(shape, []), out["cpu_seconds"].setdefault(shape, [])
        for _ in range(int(rounds)):
            start, cpu = time.perf_counter(), time.process_time()
            score(ids)
            times.append(time.perf_counter() - start)
            used.append(time.process_time() - cpu)
    with open("/proc/self/statm") as f:
        out["rss_bytes"] = int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    print(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
