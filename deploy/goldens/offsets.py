"""Prints which bytes of a text each token holds, as the tokenizers library says.

    python offsets.py tokenizer.json... < texts.json

texts.json is a list of texts. The result is a list by file of lists by text of
[id, start, end] by token, without special tokens around a text and without the
trimming that post-processors do.
"""

import json
import sys

from tokenizers import Tokenizer


def main():
    texts = json.load(sys.stdin)
    out = []
    for path in sys.argv[1:]:
        t = Tokenizer.from_file(path)
        with open(path, encoding="utf-8") as f:
            doc = json.load(f)
        doc["post_processor"] = None
        t = Tokenizer.from_str(json.dumps(doc))
        t.no_truncation()
        t.no_padding()
        rows = []
        for text in texts:
            at = [0]
            for c in text:
                at.append(at[-1] + len(c.encode()))
            e = t.encode(text, add_special_tokens=False)
            rows.append([[i, at[s], at[n]] for i, (s, n) in zip(e.ids, e.offsets)])
        out.append(rows)
    json.dump(out, sys.stdout, separators=(",", ":"))


main()
