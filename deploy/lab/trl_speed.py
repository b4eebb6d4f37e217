"""The other side of trl_speed.sh: transformers' generate and TRL's GRPO step.

usage: trl_speed.py generate|step … prints one JSON object with the seconds of each round, wall and
processor time; prepare and table are the beginning and the end of the comparison.
"""

import argparse
import json
import os
import shutil
import time


def prepare(a):
    """Writes the base with an end token that is never drawn, so that all answers have one length."""
    os.makedirs(a.out, exist_ok=True)
    for name in os.listdir(a.base):
        if os.path.isfile(os.path.join(a.base, name)):
            shutil.copy(os.path.join(a.base, name), a.out)
    with open(os.path.join(a.base, "tokenizer.json")) as f:
        added = json.load(f)["added_tokens"]
    with open(os.path.join(a.base, "config.json")) as f:
        config = json.load(f)
    # One of the special tokens that text never has: of SmolLM2 <filename>.
    used = {config.get(k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    end = [t for t in added if t["special"] and t["id"] not in used][-1]
    for name, key, value in (
        ("config.json", "eos_token_id", end["id"]),
        ("generation_config.json", "eos_token_id", end["id"]),
        ("tokenizer_config.json", "eos_token", end["content"]),
    ):
        path = os.path.join(a.out, name)
        if os.path.exists(path):
            with open(path) as f:
                content = json.load(f)
            content[key] = value
            with open(path, "w") as f:
                json.dump(content, f)


def prompts_of(path):
    with open(path) as f:
        return [json.loads(line)["prompt"] for line in f]


class Clock:
    """Wall and processor time of a block, of all threads of the process."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def generate(a):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(a.threads)
    tokenizer = AutoTokenizer.from_pretrained(a.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    batch = tokenizer(prompts_of(a.prompts), return_tensors="pt", padding=True)
    rounds = []
    for i in range(a.rounds + 1):  # the first warms up
        torch.manual_seed(i)
        with torch.inference_mode(), Clock() as clock:
            out = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                                 num_return_sequences=a.answers, max_new_tokens=a.tokens)
        assert out.shape[1] == batch["input_ids"].shape[1] + a.tokens, out.shape
        if i:
            rounds.append({"wall": clock.wall, "cpu": clock.cpu})
    return {"versions": versions(), "rounds": rounds}


def step(a):
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(a.threads)
    prompts = prompts_of(a.prompts)
    rounds, lengths = [], []

    class Times(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.clock = Clock().__enter__()

        def on_step_end(self, *_, **__):
            self.clock.__exit__()
            rounds.append({"wall": self.clock.wall, "cpu": self.clock.cpu})

    def reward(completions, completion_ids, **_):
        lengths.extend(len(ids) for ids in completion_ids)
        return [float(len(set(text))) for text in completions]

    config = GRPOConfig(
        output_dir=a.out, use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False,
        per_device_train_batch_size=len(prompts) * a.answers, num_generations=a.answers,
        max_completion_length=a.tokens, max_steps=a.rounds + 1, beta=0.04, learning_rate=1e-6,
        report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True, dataloader_pin_memory=False,
        model_init_kwargs={"dtype": "float32"},
    )
    data = Dataset.from_dict({"prompt": prompts * (a.rounds + 1)})
    trainer = GRPOTrainer(model=a.model, args=config, train_dataset=data, reward_funcs=reward,
                          processing_class=AutoTokenizer.from_pretrained(a.model, padding_side="left"), callbacks=[Times()])
    trainer.train()
    assert set(lengths) == {a.tokens}, "answers of other lengths: " + str(set(lengths))
    assert len(lengths) == len(prompts) * a.answers * (a.rounds + 1), len(lengths)
    return {"versions": versions(), "rounds": rounds[1:]}


def table(a):
    """Prints the quickest rounds of both as a table in Markdown."""
    best, seen = {}, {}
    for what in ("generate", "step"):
        for who in ("warm", "peer"):
            runs = []
            with open(os.path.join(a.out, what + "-" + who)) as f:
                for line in f:
                    run = json.loads(line)
                    seen.update(run["versions"])
                    runs += run["rounds"]
            for clock in ("wall", "cpu"):
                best[what, who, clock] = min(r[clock] for r in runs)
    prompts = prompts_of(a.prompts)
    tokens = len(prompts) * a.answers * a.tokens
    print(f"{len(prompts)} prompts, {a.answers} answers of {a.tokens} tokens to each, {a.threads} threads, float32; "
          + ", ".join(f"{k} {v}" for k, v in sorted(seen.items())) + "\n")
    print("| what | clock | warm | transformers, TRL | ratio |\n| --- | --- | ---: | ---: | ---: |")
    for clock, name in (("cpu", "processor"), ("wall", "wall")):
        w, p = best["generate", "warm", clock], best["generate", "peer", clock]
        print(f"| generation, tokens/s | {name} | {tokens / w:.0f} | {tokens / p:.0f} | {p / w:.2f} |")
    for clock, name in (("cpu", "processor"), ("wall", "wall")):
        w, p = best["step", "warm", clock], best["step", "peer", clock]
        print(f"| one GRPO step, s | {name} | {w:.2f} | {p:.2f} | {p / w:.2f} |")


def versions():
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "trl")}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["prepare", "generate", "step", "table"])
    for name in ("base", "model", "prompts", "out"):
        p.add_argument("--" + name)
    for name in ("answers", "tokens", "rounds", "threads"):
        p.add_argument("--" + name, type=int)
    a = p.parse_args()
    out = {"prepare": prepare, "generate": generate, "step": step, "table": table}[a.what](a)
    if out:
        print(json.dumps(out))


main()
