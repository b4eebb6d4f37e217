"""Writes LoRA adapters as PEFT writes them and the scores that PEFT computes with them.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2
    python generate.py OUT

OUT gets base/, a random Llama classifier of 2 layers, and for each case a directory with the adapter and expected.json:
token ids and the scores of the model that peft.PeftModel.from_pretrained opens, computed in float64 and rounded. The package
loader's test opens each case and scores the same ids.
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForSequenceClassification

VOCAB, HIDDEN = 24, 16
IDS = [[1, 5, 9, 3], [1, 23, 2, 7, 7, 11], [1, 4]]
ALL = ["q_proj", "v_proj"]

# name, rows that are added to the embedding, LoraConfig's arguments
CASES = [
    ("plain", 0, dict(task_type="SEQ_CLS", target_modules=ALL)),
    ("no-task", 0, dict(target_modules=ALL, modules_to_save=["score"])),
    ("embedding", 0, dict(task_type="SEQ_CLS", target_modules=ALL, modules_to_save=["score", "embed_tokens"])),
    ("embedding-path", 0, dict(task_type="SEQ_CLS", target_modules=ALL, modules_to_save=["model.embed_tokens"])),
    ("embedding-resized", 1, dict(task_type="SEQ_CLS", target_modules=ALL, modules_to_save=["embed_tokens"])),
    ("embedding-unlisted", 1, dict(task_type="SEQ_CLS", target_modules=ALL)),
    ("generic-targets", 0, dict(task_type="SEQ_CLS", target_modules=["q_proj", "v_proj", "c_attn", "query_key_value", "lm_head"])),
    ("lookahead", 0, dict(task_type="SEQ_CLS", target_modules=r"model\.layers\.\d+\.(?!mlp)\w+\.(q|v)_proj")),
    ("all-linear", 0, dict(task_type="SEQ_CLS", target_modules="all-linear")),
    ("suffix-to-save", 0, dict(task_type="SEQ_CLS", target_modules=ALL, modules_to_save=["put_layernorm"])),
]


def base(path):
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=1, max_position_embeddings=32, num_labels=1, pad_token_id=0, initializer_range=0.3)
    LlamaForSequenceClassification(config).save_pretrained(path)


def train(out, name, added, options):
    torch.manual_seed(11)
    model = LlamaForSequenceClassification.from_pretrained(out / "base")
    if added:
        model.resize_token_embeddings(VOCAB + added)
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, **options))
    with torch.no_grad():  # as after a training: nothing is at its initial value
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.2)
    model.save_pretrained(out / name)
    return model


def score(out, name, added):
    model = LlamaForSequenceClassification.from_pretrained(out / "base")
    if added:
        model.resize_token_embeddings(VOCAB + added)
    model = PeftModel.from_pretrained(model, out / name).eval().double()
    ids = [x + [VOCAB] if added else x for x in IDS]
    with torch.no_grad():
        return [{"ids": x, "score": model(input_ids=torch.tensor([x])).logits.item()} for x in ids]


def main(out):
    out = pathlib.Path(out)
    base(out / "base")
    for name, added, options in CASES:
        shutil.rmtree(out / name, ignore_errors=True)
        train(out, name, added, options)
        (out / name / "README.md").unlink(missing_ok=True)
        config = json.loads((out / name / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = "../base"
        if isinstance(config["target_modules"], list):
            config["target_modules"].sort()  # PEFT keeps a set, in another order each time
        (out / name / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
        (out / name / "expected.json").write_text(json.dumps(score(out, name, added), indent=1) + "\n")


main(sys.argv[1])
