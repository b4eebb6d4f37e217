"""Steps of TRL's own trainers with rewards from a server, for client_trl_test.go:
reads {"url", "files", "tokenizer", "out"} from stdin and prints, for each
trainer, the prompts, the completions and the rewards that it trained on.
"""

import asyncio
import json
import multiprocessing
import os
import pickle
import sys
import types

job = json.load(sys.stdin) if __name__ == "__main__" else json.loads(os.environ["WARM_JOB"])
os.environ["WARM_JOB"] = json.dumps(job)  # for the process that is spawned
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
sys.path.insert(0, job["files"])

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402

from trl_reward import SyncWarmReward, WarmReward  # noqa: E402

SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def policy():
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(job["tokenizer"], pad_token="</s>")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return LlamaForCausalLM(LlamaConfig(**SIZE, **ids, vocab_size=len(tokenizer))), tokenizer


def data():
    return Dataset.from_list([{"prompt": [{"role": "user", "content": "question %d" % i}], "label": i} for i in range(4)])


def common(name):
    return {
        "output_dir": os.path.join(job["out"], name), "use_cpu": True, "bf16": False, "max_steps": 1, "seed": 1,
        "per_device_train_batch_size": 8, "logging_steps": 1, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
    }


def grpo():
    """One step of GRPOTrainer."""
    from trl import GRPOConfig, GRPOTrainer

    return logged(GRPOTrainer, GRPOConfig, "grpo")


def rloo():
    """One step of RLOOTrainer."""
    from trl import RLOOConfig, RLOOTrainer

    return logged(RLOOTrainer, RLOOConfig, "rloo", beta=0.0)  # without a reference, which is loaded by name


def logged(trainer_class, config_class, name, **settings):
    """One step, and what the trainer logs of the rewards that it trained on."""
    model, tokenizer = policy()
    args = config_class(**common(name), **settings, num_generations=4, max_completion_length=8)
    trainer = trainer_class(
        model=model, reward_funcs=WarmReward(job["url"]), args=args, train_dataset=data(), processing_class=tokenizer
    )
    trainer.train()
    logs = trainer._logs
    return {
        "prompts": list(logs["prompt"]), "completions": list(logs["completion"]),
        "rewards": list(logs["rewards"]["warm_reward"]),
    }


def online_dpo():
    """One step of OnlineDPOTrainer, whose reward functions are not awaited."""
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    seen = {}

    class Seen(SyncWarmReward):
        def __call__(self, prompts=None, completions=None, **kwargs):
            rewards = super().__call__(prompts=prompts, completions=completions, **kwargs)
            seen.update(prompts=prompts, completions=completions, rewards=rewards)
            return rewards

    model, tokenizer = policy()
    args = OnlineDPOConfig(**common("online_dpo"), max_new_tokens=8, max_length=64)
    trainer = OnlineDPOTrainer(
        model=model, ref_model=policy()[0], reward_funcs=Seen(job["url"]), args=args,
        train_dataset=data(), processing_class=tokenizer,
    )
    trainer.train()
    return seen


def scored(pickled, prompts, completions, out):
    """In a process of its own: TRL's scoring of one group of AsyncGRPO."""
    from accelerate import PartialState
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup, _AsyncRolloutLoop

    PartialState(cpu=True)
    loop = object.__new__(_AsyncRolloutLoop)  # without generation, which needs a vLLM server
    loop.reward_funcs, loop.reward_func_names = pickle.loads(pickled)["reward_funcs"], ["warm_reward"]
    loop._env_reward_types, loop._provides_rollout_reward = [], False
    n = len(prompts)
    row = types.SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])
    group = RolloutGroup(
        prompts=prompts, reward_kwargs={"label": [0] * n}, completions=completions, completions_ids=[[1]] * n,
        completions_sequences=[[row]] * n, tool_call_counts=[0] * n, tool_failure_counts=[0] * n,
        model_version=0, group_id=0, env_rewards=[None] * n, rollout_rewards=[None] * n,
    )
    out.put([s.metrics["rewards/warm_reward"] for s in asyncio.run(loop._score_group(group))])


def async_grpo():
    """The way of a reward function into AsyncGRPO's spawned process, and its scores there."""
    prompts = [[{"role": "user", "content": "question"}]] * 4
    completions = [[{"role": "assistant", "content": "answer %d" % i}] for i in range(4)]
    pickled = pickle.dumps({"reward_funcs": [WarmReward(job["url"])]})  # as AsyncRolloutWorker.start does
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    child = spawn.Process(target=scored, args=(pickled, prompts, completions, out))
    child.start()
    rewards = out.get(timeout=240)
    child.join()
    return {"prompts": prompts, "completions": completions, "rewards": rewards}


if __name__ == "__main__":
    json.dump({f.__name__: f() for f in (grpo, rloo, online_dpo, async_grpo)}, sys.stdout)
