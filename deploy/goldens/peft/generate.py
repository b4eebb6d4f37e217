"""Writes LoRA adapters as PEFT writes them and the scores that PEFT computes with them.

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2
    python generate.py OUT

OUT gets base/, a random Llama classifier of 2 layers, and for each case a directory with the adapter, a base of its own where
it has one, and expected.json: token ids and the scores of the model that peft.PeftModel.from_pretrained opens, computed in float64 and rounded. The package
loader's test opens each case and scores the same ids.
"""
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForSequenceClassification, MixtralConfig, MixtralForCausalLM,
    Qwen3MoeConfig, Qwen3MoeForSequenceClassification, RobertaConfig, RobertaForSequenceClassification,
)

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

SIZES = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=40, num_labels=1, pad_token_id=0)
EXPERTS = dict(SIZES, num_key_value_heads=1, num_experts_per_tok=2)

# name, class of the base, its configuration, LoraConfig's arguments
OTHERS = [
    ("gpt2", GPT2LMHeadModel, GPT2Config(vocab_size=VOCAB, n_embd=HIDDEN, n_layer=2, n_head=2, n_positions=40, num_labels=1, pad_token_id=0),
     dict(target_modules=["c_attn", "c_proj", "c_fc"])),  # matrices that are kept transposed, square ones among them
    ("mixtral-experts", MixtralForCausalLM, MixtralConfig(num_local_experts=3, **EXPERTS), dict(target_modules="all-linear")),
    ("qwen3-moe-experts", Qwen3MoeForSequenceClassification, Qwen3MoeConfig(num_experts=4, moe_intermediate_size=12, decoder_sparse_step=1, head_dim=8, **EXPERTS),
     dict(target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"], use_rslora=True)),
    ("roberta-saved-head", RobertaForSequenceClassification, RobertaConfig(**SIZES), dict(target_modules="all-linear")),
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


def with_base(where, cls, config, options):
    torch.manual_seed(13)
    model = cls(config)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.normal_(0, 0.3)
    model.save_pretrained(where / "base")
    model = get_peft_model(AutoModelForSequenceClassification.from_pretrained(where / "base", num_labels=1, experts_implementation="eager"), LoraConfig(r=2, lora_alpha=5, task_type="SEQ_CLS", **options))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.2)
    model.save_pretrained(where)
    model = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(where / "base", num_labels=1, experts_implementation="eager"), where).eval().double()
    ids = IDS + ([[1, 5, 9, 0]] if cls is GPT2LMHeadModel else [])  # whose score is that of the token before
    with torch.no_grad():
        return [{"ids": x, "score": model(input_ids=torch.tensor([x])).logits.item()} for x in ids]


def finish(where, named, scores):
    (where / "README.md").unlink(missing_ok=True)
    config = json.loads((where / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = named
    for key in ("target_modules", "target_parameters"):
        if isinstance(config.get(key), list):
            config[key].sort()  # PEFT keeps a set, in another order each time
    (where / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (where / "expected.json").write_text(json.dumps(scores, indent=1) + "\n")


def main(out):
    out = pathlib.Path(out)
    for name, cls, config, options in OTHERS:
        shutil.rmtree(out / name, ignore_errors=True)
        finish(out / name, "base", with_base(out / name, cls, config, options))
    base(out / "base")
    for name, added, options in CASES:
        shutil.rmtree(out / name, ignore_errors=True)
        train(out, name, added, options)
        finish(out / name, "../base", score(out, name, added))


main(sys.argv[1])
