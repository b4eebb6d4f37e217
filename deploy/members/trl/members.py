"""Trains a member of a plan by TRL's RewardTrainer.

    python3 members.py K         the K-th member, counted from 1
    python3 members.py start     the shared start alone

"warm train members --with trl" writes this file, with what it reads, to OUT/trl:
start.json, member-K.json and pairs as token ids. Each call makes the shared start
where there is none, leaves a member alone that is there, and goes on where an
earlier call was stopped. It prints a line of JSON a step, and ends with 0 when the
member is there, with 130 when it was stopped by SIGTERM or SIGINT.

Python 3.10 or later with torch, transformers 5, trl 1.16 or later, peft for LoRA.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULT = "trl.json"  # what a member tells of its run, beside its weights
TEXT = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab.*", "merges.txt", "*.model", "*.tiktoken")
LAUNCHED = "WARM_LAUNCHED"  # set for what a launcher starts
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

# What transformers' configurations call the dropouts of a plan.
DROPOUTS = {
    "hidden": ("hidden_dropout_prob", "hidden_dropout", "resid_pdrop", "resid_dropout", "residual_dropout", "mlp_dropout", "dropout"),
    "attention": ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop"),
    "embedding": ("embd_pdrop", "embedding_dropout", "embed_dropout", "embd_dropout"),
}
OTHER_DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "summary_first_dropout", "seq_classif_dropout", "pooler_dropout")


def main(args):
    if len(args) != 1 or not (args[0] == "start" or args[0].isdigit()):
        print(__doc__, file=sys.stderr)
        return 2
    if args[0] == "start":
        start(read("start.json"))
        return 0
    job = read("member-%s.json" % args[0])
    out = HERE / job["out"]
    if done(out, job):
        return 0
    if LAUNCHED not in os.environ:  # some launchers tell a single process nothing of itself
        start(read("start.json"))
        if job.get("launch"):
            os.environ[LAUNCHED] = "1"
            # Launchers lie beside Python where they were installed with it.
            os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
            os.execvp(job["launch"][0], job["launch"] + [str(Path(__file__).resolve()), args[0]])
    return train(job, out)


def read(name):
    return json.loads((HERE / name).read_text("utf-8"))


def tell(**what):
    if RANK == 0:
        print(json.dumps(what), flush=True)


def done(out, job):
    """Whether the member is there. What another run left is in the way, unless it is
    to be replaced."""
    if not out.exists():
        return False
    try:
        if json.loads((out / RESULT).read_text("utf-8"))["run"] == job["run"]:
            return True
    except (OSError, ValueError, KeyError):
        pass
    if job.get("replace") and (out / "config.json").exists():
        return False
    sys.exit("%s holds something else: name another directory, or --replace a checkpoint that is there" % out)


def put(made, place, replace=False):
    """Moves a directory into its place, in one step. False when another has been quicker."""
    for file in made.iterdir():
        file.chmod(0o644)
    old = place.with_name("." + place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if replace and place.exists():
        place.rename(old)
    try:
        made.rename(place)
    except OSError:
        if not (place / "config.json").exists():
            raise
        shutil.rmtree(made)
        return False
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return True


def beside(place):
    """A new directory that put can move to a place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="." + place.name + ".tmp-", dir=place.parent))
    made.chmod(0o755)
    return made


def copy_text(source, to):
    """Takes a checkpoint's tokenizer and chat template byte for byte: transformers
    writes them otherwise than it read them."""
    for kind in TEXT:
        for old in to.glob(kind):
            old.unlink()
        for file in Path(source).glob(kind):
            shutil.copyfile(file, to / file.name)


def set_padding(directory, token):
    """Names the padding token in a config.json: transformers finds the last token by it."""
    path = directory / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["pad_token_id"] = token
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


# The shared start: the bases as reward models, with one score head that is probed on the first.


def start(job):
    if all((HERE / s["dir"] / "config.json").exists() for s in job["starts"]):
        return
    import torch
    from transformers import set_seed

    head = None
    for s in job["starts"]:
        set_seed(job["seed"])  # new layers before the head begin alike in all
        model = classifier(s["base"], device_map="auto" if torch.cuda.is_available() else None)
        model.config.pad_token_id = job["pad_token_id"]
        layer = model.get_submodule(job["head"].removesuffix(".weight")).to(torch.float32)
        if layer.weight.shape[0] != 1:
            sys.exit("%s: its score head has %d outputs, want 1" % (s["base"], layer.weight.shape[0]))
        if head is None:
            head = layer.weight.detach().cpu().clone()
            if job.get("pairs"):
                tell(message="probing the score head")
                head = probe(model, job).reshape(1, -1)
        with torch.no_grad():
            layer.weight.copy_(head)
            if layer.bias is not None and job.get("pairs"):
                layer.bias.zero_()  # no pair says anything of it
        made = beside(HERE / s["dir"])
        model.save_pretrained(made)
        set_padding(made, job["pad_token_id"])
        copy_text(s["base"], made)
        (made / job["told_in"]).write_text(json.dumps(s["told"], indent=2) + "\n", "utf-8")
        put(made, HERE / s["dir"])


def classifier(path, **kwargs):
    """A checkpoint as a reward model, in its own number format unless one is given."""
    from transformers import AutoModelForSequenceClassification

    kwargs.setdefault("dtype", "auto")
    if "config" not in kwargs:
        kwargs["num_labels"] = 1
    return AutoModelForSequenceClassification.from_pretrained(path, **kwargs).eval()


def probe(model, job):
    """The head that separates chosen from rejected best on frozen features: logistic
    regression with a little of the squared norm, as the trainer of "warm train" does it."""
    import torch

    name = job["head"].removesuffix(".weight")
    layer = model.get_submodule(name)
    model.set_submodule(name, torch.nn.Identity(), strict=True)  # transformers finds the token that is read
    features = []
    pairs = [json.loads(line) for line in open(HERE / job["pairs"], encoding="utf-8")]
    with torch.no_grad():
        for at in range(0, len(pairs), job["micro"]):
            part = pairs[at : at + job["micro"]]
            rows = [p["chosen_ids"] for p in part] + [p["rejected_ids"] for p in part]
            longest = max(map(len, rows))
            ids = torch.tensor([r + [job["pad_token_id"]] * (longest - len(r)) for r in rows])
            seen = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
            f = model(input_ids=ids.to(model.device), attention_mask=seen.to(model.device)).logits
            f = f.reshape(len(rows), -1).cpu().double()
            features.append(f[: len(part)] - f[len(part) :])
    model.set_submodule(name, layer, strict=True)
    d = torch.cat(features)
    square = d.pow(2).sum(1).mean()
    if square == 0:
        sys.exit("probing: the features of chosen and rejected answers are all equal")
    decay = 1e-2 * square / d.shape[1]
    w = torch.zeros(d.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([w], max_iter=300, tolerance_grad=1e-6, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss():
        search.zero_grad()
        value = torch.nn.functional.softplus(-(d @ w)).mean() + 0.5 * decay * w.dot(w)
        value.backward()
        return value

    search.step(loss)
    return w.detach().float()


# One member.


def train(job, out):
    import torch
    from datasets import load_dataset
    from transformers import AutoConfig, AutoTokenizer, PrinterCallback
    from trl import RewardConfig, RewardTrainer

    state, begin = HERE / job["state"], HERE / job["start"]
    each, rest = divmod(job["batch"], WORLD)
    if rest:
        sys.exit("batch: %d pairs do not divide among %d processes" % (job["batch"], WORLD))
    micro = next(n for n in range(min(job["micro"], each), 0, -1) if each % n == 0)
    # First of all, as it prepares what models are made on.
    args = RewardConfig(
        output_dir=str(state), per_device_train_batch_size=micro, gradient_accumulation_steps=each // micro, **job["arguments"]
    )
    config = AutoConfig.from_pretrained(begin, num_labels=1)
    config.pad_token_id = job["pad_token_id"]
    left = set_dropouts(config, job["dropout"])
    model = classifier(begin, config=config, dtype=torch.float32)
    add_dropouts(model, left)
    tokenizer = AutoTokenizer.from_pretrained(begin)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(job["pad_token_id"])
    lora = None
    if job.get("lora"):
        from peft import LoraConfig

        head = job["head"].split(".")[0]
        lora = LoraConfig(task_type="SEQ_CLS", modules_to_save=[head], lora_dropout=0.0, bias="none", **job["lora"])
    pairs = load_dataset("json", data_files=str(HERE / job["pairs"]), split="train", cache_dir=str(HERE / "cache"))
    watch = watcher()
    trainer = RewardTrainer(
        model=model, args=args, train_dataset=pairs, processing_class=tokenizer, peft_config=lora, callbacks=[watch]
    )
    trainer.remove_callback(PrinterCallback)
    last = saved(state)
    if last:
        tell(message="going on after step %s" % last.rsplit("-", 1)[1])
    trainer.train(resume_from_checkpoint=last)
    if trainer.state.global_step < trainer.state.max_steps:
        tell(message="stopped after step %d; the same command goes on" % trainer.state.global_step)
        return 130
    save(trainer, job, begin, out)
    if RANK == 0:
        shutil.rmtree(state, ignore_errors=True)
    return 0


def saved(state):
    """The last state of a run that was written whole, None where there is none."""
    whole = [f.parent for f in state.glob("checkpoint-*/trainer_state.json")]  # which is written last
    return str(max(whole, key=lambda c: int(c.name.rsplit("-", 1)[1]))) if whole else None


def set_dropouts(config, wanted):
    """Sets the dropouts that a configuration has, and returns those that it has not."""
    left = {}
    for kind, names in DROPOUTS.items():
        had = [n for n in names if hasattr(config, n)]
        for n in had:
            setattr(config, n, wanted.get(kind, 0.0))
        if not had and wanted.get(kind):
            left[kind] = wanted[kind]
    for n in OTHER_DROPOUTS:
        if getattr(config, n, None) is not None:
            setattr(config, n, 0.0)
    return left


def add_dropouts(model, wanted):
    """Adds dropouts that a class of models has not: of what attention and feed-forward
    add to each layer, and of embeddings."""
    from torch.nn.functional import dropout

    def drops(p):
        def hook(module, _, output):
            if isinstance(output, tuple):
                return (dropout(output[0], p, module.training), *output[1:])
            return dropout(output, p, module.training)

        return hook

    if "attention" in wanted:
        sys.exit("dropout: attention: a %s has none" % type(model).__name__)
    if "embedding" in wanted:
        model.get_input_embeddings().register_forward_hook(drops(wanted["embedding"]))
    if "hidden" in wanted:
        parts = [m for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in ("self_attn", "mlp", "block_sparse_moe", "feed_forward")]
        if not parts:
            sys.exit("dropout: hidden: a %s has no parts that it is known for" % type(model).__name__)
        for m in parts:
            m.register_forward_hook(drops(wanted["hidden"]))


def watcher():
    """Tells of each step, and stops all processes behind the same one when one is told to."""
    import torch
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        stop = False
        tokens = 0

        def on_step_end(self, args, state, control, **kwargs):
            stop = self.stop
            if WORLD > 1:
                told = torch.tensor([float(stop)], device=args.device)
                torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
                stop = told.item() > 0
            if stop and state.global_step < state.max_steps:
                control.should_save = control.should_training_stop = True

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                seen = int(logs.get("num_tokens", 0))
                tell(step=state.global_step, steps=state.max_steps, **figures(logs), tokens=max(seen - self.tokens, 1))
                self.tokens = seen

    watch = Watcher()

    def told(*_):
        watch.stop = True

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    return watch


def figures(logs):
    names = {"loss": "loss", "accuracy": "accuracy", "learning_rate": "lr", "grad_norm": "norm"}
    return {to: float(logs[name]) for name, to in names.items() if name in logs}


def save(trainer, job, begin, out):
    """Writes the member beside its place and moves it there. With LoRA that is the
    whole model, and out-adapter the change alone."""
    import torch

    scratch = HERE / (job["state"] + ".out")
    trainer.save_model(str(scratch))  # all processes hold parts of it
    trainer.accelerator.wait_for_everyone()
    if RANK != 0:
        return
    for old in out.parent.glob("." + out.name + ".tmp-*"):  # of a call that was killed while it wrote
        shutil.rmtree(old)
    made = beside(out)
    if job.get("lora"):
        from peft import PeftModel

        whole = PeftModel.from_pretrained(classifier(begin, dtype=torch.float32), scratch).merge_and_unload()
        whole.to(getattr(torch, job["dtype"])).save_pretrained(made)
        adapter = beside(out.with_name(out.name + "-adapter"))
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(scratch / name, adapter / name)
        put(adapter, out.with_name(out.name + "-adapter"), replace=True)
    elif job["dtype"] != "float32":
        classifier(scratch, dtype=getattr(torch, job["dtype"])).save_pretrained(made)
    else:
        for file in list(scratch.glob("*.safetensors")) + list(scratch.glob("*.index.json")):
            shutil.move(file, made / file.name)
    shutil.rmtree(scratch)
    shutil.copyfile(begin / "config.json", made / "config.json")
    set_padding(made, job["pad_token_id"])
    copy_text(begin, made)
    history = [dict(step=l["step"], **figures(l)) for l in trainer.state.log_history if "loss" in l]
    (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history), "utf-8")
    told = {"run": job["run"], "steps": trainer.state.global_step, "processes": WORLD, "versions": versions()}
    (made / RESULT).write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    put(made, out, replace=bool(job.get("replace")))


def versions():
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "trl", "peft", "accelerate"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            pass
    return out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
