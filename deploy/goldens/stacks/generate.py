"""Trains tiny reward models with other stacks' own code, and writes what they save with their scores.

    python generate.py BASE OUT [NAME …]

BASE is a causal language model with a tokenizer and a chat template. OUT gets a
directory for each stack, with expected.json: conversations, the stack's own
token ids and its scores in float32. It was run with llamafactory 0.9.5, openrlhf
0.11.2, trl 0.24.0 (the last with a value head), transformers 5.6.0, peft 0.18.1
and torch 2.15.0, and with trl 1.16.0, transformers 5.24.0 and peft 0.21.2, whose
RewardTrainer trains tiny models of every architecture, whole and as LoRA adapters;
and with ms-swift 4.6.0 over the former. A stack that cannot be imported is named and left out.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
import types

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")  # llamafactory's, of other packages
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch

base, out = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
wanted = sys.argv[3:]
os.makedirs(out, exist_ok=True)

CONVERSATIONS = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in (
    ("What is 2 + 2?", "It is 4."), ("Name a colour.", "Blue"), ("Hi", "Hello! How can I help you today?"), ("Why?", "Because the sky is blue, and so is the sea.\n"))]


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands for packages that are imported and not used where there is no GPU and no sound."""

    def __init__(self, roots):
        self.roots = roots

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, is_package=True) if name.split(".")[0] in self.roots else None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda member: (_ for _ in ()).throw(AttributeError(member)) if member.startswith("__") else type(member, (), {})
        return module

    def exec_module(self, module):
        pass


def absent(*roots):
    import transformers.integrations, transformers.trainer  # which must not take them for present
    sys.meta_path.append(Absent([r for r in roots if importlib.util.find_spec(r) is None]))


def write(where, ids, scores):
    expected = [{"messages": m, "ids": i, "score": s} for m, i, s in zip(CONVERSATIONS, ids, scores)]
    with open(os.path.join(where, "expected.json"), "w") as f:
        json.dump(expected, f, indent=1)


def pairs(where):
    """LLaMA-Factory's data: a directory with pairs and their description."""
    os.makedirs(where, exist_ok=True)
    rows = [{"conversations": [{"from": "human", "value": m[0]["content"]}], "chosen": {"from": "gpt", "value": m[1]["content"]},
             "rejected": {"from": "gpt", "value": "no"}} for m in CONVERSATIONS]
    with open(os.path.join(where, "pairs.json"), "w") as f:
        json.dump(rows, f)
    with open(os.path.join(where, "dataset_info.json"), "w") as f:
        json.dump({"pairs": {"file_name": "pairs.json", "ranking": True, "formatting": "sharegpt",
                             "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}}}, f)
    return where


def untied(where):
    """The base with an output layer of its own: LLaMA-Factory cannot save a tied one beside its value head."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(where)
    AutoTokenizer.from_pretrained(base).save_pretrained(where)
    return where


def llamafactory(where, kind):
    absent("torchaudio")
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_model, load_tokenizer
    from llamafactory.train.tuner import run_exp

    base = untied(where + "-base")
    args = dict(model_name_or_path=base, stage="rm", do_train=True, finetuning_type=kind, dataset="pairs", dataset_dir=pairs(where + "-data"), template="qwen3",
                cutoff_len=256, output_dir=where, per_device_train_batch_size=2, max_steps=2, learning_rate=1e-2, report_to="none", save_only_model=True, use_cpu=True,
                overwrite_output_dir=True, logging_steps=1, seed=1, bf16=False)
    if kind == "lora":
        args["lora_target"] = "all"
    run_exp(args)
    infer = dict(model_name_or_path=where if kind == "full" else base, stage="rm", template="qwen3", finetuning_type=kind, infer_dtype="float32")
    if kind == "lora":
        infer["adapter_name_or_path"] = where
    model_args, data_args, finetuning_args, _ = get_infer_args(infer)
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    model = load_model(tokenizer, model_args, finetuning_args, is_trainable=False, add_valuehead=True).eval()
    ids, scores = [], []
    for m in CONVERSATIONS:
        prompt, answer = template.encode_oneturn(tokenizer, m)
        ids.append(prompt + answer)
        with torch.no_grad():
            values = model(input_ids=torch.tensor([ids[-1]]), attention_mask=torch.ones(1, len(ids[-1]), dtype=torch.long), return_dict=True, use_cache=False)[-1]
        scores.append(float(values[0, -1]))
    write(where, ids, scores)


def trl(where, lora):
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import AutoModelForCausalLMWithValueHead

    os.makedirs(where, exist_ok=True)
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False) if lora else None
    model = AutoModelForCausalLMWithValueHead.from_pretrained(base, peft_config=config, dtype=torch.float32).eval()
    torch.nn.init.normal_(model.v_head.summary.weight, 0.0, 0.3)
    model.save_pretrained(where)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(where)
    ids = [tokenizer.apply_chat_template(m, tokenize=True, return_dict=False) for m in CONVERSATIONS]
    with torch.no_grad():
        scores = [float(model(input_ids=torch.tensor([i]))[2][0, -1]) for i in ids]
    write(where, ids, scores)


def trl_trainer(where, name, lora):
    """Trains with RewardTrainer, whole or as an adapter over a base that is saved beside it."""
    import architectures
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    tokenizer = AutoTokenizer.from_pretrained(base)
    architectures.make(name, where + "-base", tokenizer)
    torch.manual_seed(7)
    model = AutoModelForSequenceClassification.from_pretrained(where + "-base", num_labels=1, dtype=torch.float32)
    rows = [{"chosen": m, "rejected": m[:1] + [{"role": "assistant", "content": "no"}]} for m in CONVERSATIONS]
    args = RewardConfig(output_dir=where, max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2, report_to="none", use_cpu=True, bf16=False,
                        gradient_checkpointing=False, save_strategy="no", logging_steps=1, seed=1, disable_tqdm=True)
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", exclude_modules=r".*classifier.*", task_type="SEQ_CLS", init_lora_weights=False) if lora else None
    trainer = RewardTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=adapter)
    trainer.train()
    trainer.save_model(where)
    ids = [tokenizer.apply_chat_template(m, tokenize=True, return_dict=False) for m in CONVERSATIONS]
    model = trainer.model.eval()
    with torch.no_grad():
        scores = [float(model(input_ids=torch.tensor([i]), attention_mask=torch.ones(1, len(i), dtype=torch.long)).logits[0, 0]) for i in ids]
    write(where, ids, scores)


def swift(where, kind):
    from swift import RLHFArguments, Swift, get_model_processor, get_template, rlhf_main

    os.makedirs(where, exist_ok=True)
    data = where + "-pairs.jsonl"
    with open(data, "w") as f:
        f.writelines(json.dumps({"messages": m, "rejected_response": "no"}) + "\n" for m in CONVERSATIONS)
    common = dict(model_type="qwen3", attn_impl="eager")
    done = rlhf_main(RLHFArguments(rlhf_type="rm", model=base, template="qwen3", tuner_type=kind, dataset=[data], output_dir=where + "-run", max_steps=2, save_steps=2,
                                   per_device_train_batch_size=2, learning_rate=1e-2, report_to="none", use_cpu=True, add_version=False, gradient_checkpointing=False,
                                   torch_dtype="float32", dataloader_num_workers=0, dataset_num_proc=1, split_dataset_ratio=0.0, **common))
    saved = done["last_model_checkpoint"]
    for name in os.listdir(saved):
        os.replace(os.path.join(saved, name), os.path.join(where, name))
    model, tokenizer = get_model_processor(where if kind == "full" else base, task_type="seq_cls", num_labels=1, device_map="cpu", torch_dtype=torch.float32, **common)
    if kind == "lora":
        model = Swift.from_pretrained(model, where)
    template = get_template(tokenizer, template_type="qwen3")
    template.set_mode("train")
    ids = [template.encode({"messages": m})["input_ids"] for m in CONVERSATIONS]
    model.eval()
    with torch.no_grad():
        scores = [float(model(input_ids=torch.tensor([i]), attention_mask=torch.ones(1, len(i), dtype=torch.long)).logits[0, 0]) for i in ids]
    write(where, ids, scores)


def openrlhf(where):
    absent("flash_attn", "deepspeed", "ring_flash_attn")
    from openrlhf.models import get_llm_for_sequence_regression
    from transformers import AutoTokenizer

    torch.manual_seed(5)
    model = get_llm_for_sequence_regression(base, "reward", init_value_head=True, attn_implementation="eager").float().eval()
    torch.nn.init.normal_(getattr(model, model.value_head_prefix).weight, 0.0, 0.3)
    model.config._attn_implementation = "eager"
    model.save_pretrained(where)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(where)
    ids = []
    for m in CONVERSATIONS:  # as RewardDataset does
        text = tokenizer.apply_chat_template(m, tokenize=False).rstrip("\n")
        if not text.endswith(tokenizer.eos_token):
            text += " " + tokenizer.eos_token
        ids.append(tokenizer(text, add_special_tokens=False)["input_ids"])
        ids[-1][-1] = tokenizer.eos_token_id
    with torch.no_grad():
        scores = [float(model(torch.tensor([i]), torch.ones(1, len(i), dtype=torch.long))[0]) for i in ids]
    write(where, ids, scores)


STACKS = {
    "llamafactory-full": lambda w: llamafactory(w, "full"), "llamafactory-lora": lambda w: llamafactory(w, "lora"),
    "trl-value-head": lambda w: trl(w, False), "trl-value-head-lora": lambda w: trl(w, True), "openrlhf": openrlhf,
    "swift-full": lambda w: swift(w, "full"), "swift-lora": lambda w: swift(w, "lora"),
}
if importlib.util.find_spec("trl"):
    import architectures

    for arch in architectures.ARCHITECTURES:
        for kind in ("full", "lora"):
            STACKS[f"trl-{arch}-{kind}"] = lambda w, a=arch, k=kind: trl_trainer(w, a, k == "lora")
for name, make in STACKS.items():
    if wanted and name not in wanted:
        continue
    try:
        make(os.path.join(out, name))
    except ImportError as e:
        print(f"{name} is left out: {e}", file=sys.stderr)
