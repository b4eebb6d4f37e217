"""Scores of transformers, for train_trl_real_test.go: reads {"dirs", "texts"} from
stdin and prints the scores of all texts a directory.
"""

import json
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

job = json.load(sys.stdin)
scores = []
for directory in job["dirs"]:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        scores.append([model(**tokenizer(t, return_tensors="pt")).logits.item() for t in job["texts"]])
print(json.dumps(scores))
