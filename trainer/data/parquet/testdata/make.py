"""Writes the files that rows_test.go reads, and what pyarrow reads back from them.

Run with pyarrow 26.0.1: python make.py
"""

import json
import pyarrow as pa
import pyarrow.parquet as pq

rows = [
    {
        "id": i,
        "prompt": ["Why?", "Name a colour that begins with ü.", ""][i % 3],
        "chosen": [f"answer {i}.{k}" for k in range(i % 4)],
        "pairs": [[i, k] for k in range(i % 3)],
        "scores": [bool(k % 2) for k in range(5)],
        "nothing": None if i % 2 else "there",
        "list_or_null": None if i % 5 == 0 else [None, "x"],
        "tag": {"hard": i % 2 == 0, "deep": {"if": None if i % 3 == 0 else i / 7}},
        "turns": [{"role": r, "content": f"{r} {i}"} for r in ("user", "assistant")][: i % 3],
        "big": -(2**53) - i,
        "same": "the same text in every row",
        "plus": {"a": i} if i % 4 else {},
    }
    for i in range(40)
]
schema = pa.schema(
    [
        ("id", pa.int32()),
        ("prompt", pa.string()),
        ("chosen", pa.list_(pa.string())),
        ("pairs", pa.list_(pa.list_(pa.int64()))),
        ("scores", pa.list_(pa.bool_())),
        ("nothing", pa.large_string()),
        ("list_or_null", pa.list_(pa.string())),
        ("tag", pa.struct([("hard", pa.bool_()), ("deep", pa.struct([("if", pa.float64())]))])),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("big", pa.int64()),
        ("same", pa.string()),
        ("plus", pa.struct([("a", pa.int64())])),
    ]
)
table = pa.Table.from_pylist(rows, schema=schema)
for name, options in {
    "plain": {"compression": "none", "use_dictionary": False, "write_statistics": False},
    "snappy": {"compression": "snappy"},
    "gzip": {"compression": "gzip", "data_page_version": "2.0"},
    "zstd": {"compression": "zstd", "row_group_size": 7, "data_page_size": 64},
}.items():
    pq.write_table(table, f"{name}.parquet", **options)
    back = pq.read_table(f"{name}.parquet").to_pylist()
    assert back == table.to_pylist()
with open("rows.jsonl", "w") as f:
    for row in table.to_pylist():
        f.write(json.dumps(row, ensure_ascii=False) + "\n")
pq.write_table(pa.table({"x": pa.array([1], pa.int8())}), "brotli.parquet", compression="brotli")
