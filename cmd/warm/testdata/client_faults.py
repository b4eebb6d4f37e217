"""Holds the Python clients to what they promise when things go wrong, against a
server that refuses on purpose; run by client_python_test.go.

    python3 client_faults.py FOLDER-OF-THE-CLIENTS [-v]
"""

import ast
import asyncio
import collections
import http.server
import importlib.util
import inspect
import json
import logging
import math
import multiprocessing
import os
import pickle
import socket
import sys
import threading
import time
import types
import unittest
import urllib.parse

FILES = sys.argv.pop(1) if len(sys.argv) > 1 and __name__ == "__main__" else os.environ["WARM_CLIENTS"]
os.environ["WARM_CLIENTS"] = FILES  # for the processes that are spawned
os.environ.update(WARM_API_KEY="", WARM_MODEL="", WARM_MODE="")
sys.path.insert(0, FILES)
sys.dont_write_bytecode = True
logging.getLogger("warm_reward").setLevel(logging.ERROR)

import trl_reward  # noqa: E402

MB = 1 << 20


def load(name):
    """As verl and OpenRLHF load a file: by its path, and into no table of modules."""
    spec = importlib.util.spec_from_file_location("custom_module", os.path.join(FILES, name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(code, message="no", param=None):
    return {"type": code, "message": message, "param": param, "code": code}


class Fake:
    """A server. Its limits are attributes; answer may be replaced."""

    def __init__(self):
        self.seen, self.max_bytes, self.max_tokens, self.max_answers = [], 32 * MB, MB, 1024
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                fake.handle(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def handle(self, h):
        length = int(h.headers["Content-Length"])
        path = urllib.parse.urlsplit(h.path)
        if length > self.max_bytes:  # as warm serve does: unread, and the connection closed
            self.seen.append(types.SimpleNamespace(path=path.path, query=path.query, body=None, headers=h.headers))
            h.close_connection = True
            return self.send(h, 413, {"error": refusal("body_too_large", "the body is over %d bytes" % self.max_bytes)})
        body = json.loads(h.rfile.read(length))
        request = types.SimpleNamespace(path=path.path, query=path.query, body=body, headers=h.headers)
        self.seen.append(request)
        status, reply, *headers = self.answer(request)
        self.send(h, status, reply, *headers)

    def send(self, h, status, reply, headers=None):
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        h.send_response(status)
        h.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            h.send_header(name, value)
        if h.close_connection:
            h.send_header("Connection", "close")
        h.end_headers()
        h.wfile.write(data)

    def answer(self, request):
        if request.path == "/get_reward":
            return self.get_reward(request.body)
        return self.reward(request.body)

    def get_reward(self, body):
        n = len(body["query"])
        if n > self.max_answers:
            return 413, {"error": refusal("too_many_sequences")}
        rewards = [float(len(q)) for q in body["query"]]
        return 200, {"rewards": rewards, "scores": [0.5] * n, "extra_logs": {"reward_std": [0.0] * n}}

    def reward(self, body):
        """The reward of an answer is the number in it; BAD, LONG and NOTEMPLATE are refused."""
        answers = []
        for i, x in enumerate(body["inputs"]):
            before = json.dumps(x.get("prompt", ""))
            for j, a in enumerate(x["responses"] if "responses" in x else [x.get("response", x.get("text", x.get("messages")))]):
                answers.append((i, j, before, a if isinstance(a, str) else a[-1]["content"]))
        if len(answers) > self.max_answers:
            return 413, {"error": refusal("too_many_sequences", "more than %d answers" % self.max_answers, "inputs")}
        if sum(len(p) + len(a) for _, _, p, a in answers) / 4 > self.max_tokens:
            return 413, {"error": refusal("too_many_tokens", param="inputs[0]")}
        data = []
        for i, j, _, a in answers:
            if "UNREADABLE" in a:
                return 400, {"error": refusal("missing_field", param="inputs[%d].messages[0].content" % i)}
            entry = {"index": len(data), "input": i, "answer": j}
            for word, code in (("BAD", "template_error"), ("LONG", "too_long"), ("NOTEMPLATE", "unsupported_input")):
                if word in a:
                    entry["error"] = refusal(code, "the reason", "inputs[%d]" % i)
            if "error" in entry:
                if body.get("on_error") != "item":
                    return 400 if code != "too_long" else 422, {"error": entry["error"]}
            else:
                entry.update(reward=float(a.split()[0]), tokens=len(a), truncated=False)
                if body.get("mode") == "both":
                    entry.update(ensemble=-entry["reward"], std=0.5)
            data.append(entry)
        return 200, {"model": "m", "data": data}


class Case(unittest.TestCase):
    def setUp(self):
        self.fake = Fake()
        self.addCleanup(self.fake.close)

    def rewards(self, prompts, completions, **options):
        f = trl_reward.WarmReward(options.pop("url", self.fake.url), **options)
        return asyncio.run(f(prompts=prompts, completions=completions))

    def refused(self, words, call, *args, **kwargs):
        """Asserts that a call raises the client's error with words in it, at once."""
        start = time.monotonic()
        with self.assertRaises(Exception) as caught:
            call(*args, **kwargs)
        self.assertEqual("WarmError", type(caught.exception).__name__, caught.exception)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertLess(time.monotonic() - start, 5)
        return caught.exception


class OneAnswerOfMany(Case):
    def test_one_refused_answer_is_none_for_itself(self):
        for bad in ("BAD", "LONG"):
            got = self.rewards(["q"] * 6, ["1", "2", bad, "4", "5", "6"])
            self.assertEqual([1, 2, None, 4, 5, 6], got)
        self.assertEqual(2, len(self.fake.seen))

    def test_one_unreadable_conversation_is_none_for_itself(self):
        turns = lambda text: [{"role": "assistant", "content": text}, {"role": "assistant", "content": text}]
        got = self.rewards(["q"] * 9, [turns("%d" % i) for i in range(4)] + [turns("UNREADABLE")] + ["%d" % i for i in range(5, 9)])
        self.assertEqual([0, 1, 2, 3, None, 5, 6, 7, 8], got)

    def test_an_input_that_cannot_be_read_is_none_for_its_answers(self):
        one = [{"input": 0, "answer": 0, "error": refusal("missing_field")}, {"input": 1, "answer": 0, "reward": 5.0}]
        self.fake.answer = lambda request: (200, {"data": one})
        self.assertEqual([None, None, None, 5], self.rewards(["p"] * 3 + ["q"], ["1", "2", "3", "5"]))

    def test_what_has_no_json_is_none_for_itself(self):
        call = [{"role": "assistant", "content": "3", "tool_calls": [{"arguments": {"x": math.nan}}]}]
        self.assertEqual([1, None, None, 4], self.rewards(["q"] * 4, ["1", "\ud800", call, "4"]))

    def test_all_too_long_is_none_for_each(self):
        self.assertEqual([None, None], self.rewards(["q", "p"], ["LONG", "LONG"], truncate="error"))
        self.assertEqual("error", self.fake.seen[0].body["truncate"])

    def test_all_refused_raises_the_reason(self):
        self.refused(["unsupported_input", "the reason"], self.rewards, ["q"] * 4, ["NOTEMPLATE"] * 4)
        self.assertEqual(1, len(self.fake.seen))

    def test_no_answers(self):
        self.assertEqual([], self.rewards([], []))


class Size(Case):
    def sizes(self):
        return [sum(len(x.get("responses", "1")) for x in r.body["inputs"]) for r in self.fake.seen if r.body]

    def test_512_answers_of_16k_tokens(self):
        answers = ["%d %s" % (i, "word " * (4 * 16384 // 5)) for i in range(512)]
        start = time.monotonic()
        got = self.rewards(["question %d" % (i // 8) for i in range(512)], answers)
        self.assertEqual([float(i) for i in range(512)], got)
        self.assertLess(time.monotonic() - start, 20)
        self.assertTrue(all(r.body for r in self.fake.seen), "a request was too large")
        for r in self.fake.seen:  # 8 answers of 64 KiB fit a request, so no group is cut
            self.assertTrue(all(len(x["responses"]) == 8 for x in r.body["inputs"]))

    def test_a_group_larger_than_a_request_is_cut(self):
        got = self.rewards(["q"] * 700, [str(i) for i in range(700)])
        self.assertEqual([float(i) for i in range(700)], got)
        self.assertEqual([512, 188], sorted(self.sizes(), reverse=True))

    def test_small_groups_share_a_request(self):
        self.rewards([str(i // 8) for i in range(512)], ["1"] * 512)
        self.assertEqual([512], self.sizes())
        self.assertEqual([8] * 64, [len(x["responses"]) for x in self.fake.seen[0].body["inputs"]])

    def test_a_long_prompt_counts_with_each_answer(self):
        self.fake.max_tokens = MB // 4  # this server's tokens are four bytes each
        self.rewards(["p" * 100000] * 32, ["1"] * 32)
        self.assertEqual(32, sum(self.sizes()))

    def test_a_request_that_is_too_large_is_halved_between_prompts(self):
        for limit in ({"max_answers": 6}, {"max_bytes": 600}):
            self.fake.seen.clear()
            vars(self.fake).update(limit)
            got = self.rewards([str(i // 4) for i in range(32)], [str(i) for i in range(32)])
            self.assertEqual([float(i) for i in range(32)], got)
            for r in self.fake.seen:
                self.assertTrue(r.body is None or all(len(x["responses"]) == 4 for x in r.body["inputs"]))

    def test_a_body_refused_before_its_end(self):
        # Larger than what the sockets take, so that the client is still sending.
        self.fake.max_bytes = 1000
        got = self.rewards(["q"] * 2, ["1", "2 " + "x" * 16 * MB], timeout=20)
        self.assertEqual([1, None], got)

    def test_openrlhf_halves_too(self):
        self.fake.max_answers = 3
        os.environ["WARM_URL"] = self.fake.url
        got = load("openrlhf_reward.py").reward_func(["x" * i for i in range(1, 9)], ["p"] * 8, [None] * 8)
        self.assertEqual([float(i) for i in range(1, 9)], [float(r) for r in got["rewards"]])
        self.assertEqual([0.0] * 8, [float(r) for r in got["extra_logs"]["reward_std"]])


class Refusals(Case):
    def each(self, status, error):
        """Every client's call on a server that answers with an error."""
        self.fake.seen.clear()
        self.fake.answer = lambda request: (status, error)
        os.environ["WARM_URL"] = self.fake.url
        verl = load("verl_reward.py")
        info = {"question": "q"}
        yield lambda: self.rewards(["q"] * 8, ["1"] * 8)
        yield lambda: trl_reward.SyncWarmReward(self.fake.url)(prompts=["q"], completions=["1"])
        yield lambda: asyncio.run(verl.compute_score("d", "1", "", extra_info=info))
        yield lambda: verl.compute_score_sync("d", "1", "", extra_info=info, refused=0)
        yield lambda: load("openrlhf_reward.py").reward_func(["q"], ["p"], [None])

    def test_what_no_other_try_mends_raises_at_once_with_the_reason(self):
        for status, code, message, param in (
            (401, "unauthorized", 'send the key as "Authorization: Bearer KEY"', None),
            (403, "forbidden", "this path asks for an administrator's key", None),
            (404, "unknown_model", 'no model "nope", only "m"', "model"),
            (400, "unsupported_mode", 'the model "m" does not offer the mode "ens"', "mode"),
            (409, "revision_gone", "the revision is gone", None),
            (415, "unsupported_media_type", "want application/json", "Content-Type"),
        ):
            for call in self.each(status, {"error": refusal(code, message, param)}):
                e = self.refused([str(status), code, message], call)
                self.assertEqual((status, code, param), (e.status, e.code, e.param))
            self.assertEqual(5, len(self.fake.seen), status)

    def test_a_proxy_says_why(self):
        for call in self.each(404, b"<html>no such page</html>"):
            self.refused(["404", "no such page", self.fake.url], call)
        for call in self.each(200, b"<html>please log in</html>"):
            self.refused(["please log in"], call)
        self.assertEqual(5, len(self.fake.seen))

    def test_a_missing_template_raises(self):
        e = {"error": refusal("unsupported_input", "the model has no chat template", "inputs[0].responses")}
        for call in self.each(400, e):
            self.refused(["the model has no chat template"], call)
        self.assertEqual(5, len(self.fake.seen), "one request for each call, and no halves")
        del self.fake.answer
        self.refused(["unsupported_input", "the reason"], self.rewards, ["q"] * 2, ["NOTEMPLATE"] * 2)
        verl = load("verl_reward.py")
        for refused in (None, 0.0):
            self.refused(["unsupported_input"], verl.compute_score_sync, "d", "NOTEMPLATE", "", {"question": "q"}, url=self.fake.url, refused=refused)

    def test_a_reply_that_lacks_answers_raises(self):
        for data in ([{"input": 0, "answer": 0, "reward": 1.0}], [], None, [{"input": 0, "answer": j} for j in (0, 1)]):
            self.fake.answer = lambda request: (200, {"data": data})
            self.refused(["no entry for answer"], self.rewards, ["q"] * 2, ["1"] * 2)

    def test_the_key_is_in_no_message(self):
        self.fake.answer = lambda request: (502, b"bad gateway")
        url = self.fake.url.replace("http://", "http://x:secret@") + "?key=secret"
        e = self.refused(["502"], self.rewards, ["q"], ["1"], url=url, timeout=0.5)
        self.assertNotIn("secret", str(e))
        self.assertEqual("Bearer secret", self.fake.seen[0].headers["Authorization"])


class Retries(Case):
    def test_a_busy_server_is_asked_again(self):
        for status in (429, 502, 503, 504):
            busy = [(status, {"error": refusal("overloaded")}, {"Retry-After": "0.3"})]
            self.fake.answer = lambda r: busy.pop() if busy else Fake.answer(self.fake, r)
            start = time.monotonic()
            self.assertEqual([7], self.rewards(["q"], ["7"]))
            self.assertGreaterEqual(time.monotonic() - start, 0.3, "Retry-After")

    def test_a_server_that_stays_busy_raises_when_the_time_is_up(self):
        self.fake.answer = lambda r: (503, {"error": refusal("overloaded", "the queue is full, try again")})
        self.refused(["503", "overloaded", "the queue is full"], self.rewards, ["q"], ["1"], timeout=0.5)
        self.assertGreater(len(self.fake.seen), 1)

    def test_a_server_that_is_not_there_raises_when_the_time_is_up(self):
        self.refused(["127.0.0.1:1", "refused"], self.rewards, ["q"], ["1"], url="http://127.0.0.1:1", timeout=0.5)

    def test_a_server_that_does_not_answer_raises_when_the_time_is_up(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            url = "http://127.0.0.1:%d" % s.getsockname()[1]
            self.refused(["no answer", url], self.rewards, ["q"], ["1"], url=url, timeout=0.5)

    def test_a_fault_of_the_server_is_tried_three_times(self):
        self.fake.answer = lambda r: (500, {"error": refusal("internal", "a fault of the server")})
        self.refused(["500", "a fault of the server"], self.rewards, ["q"], ["1"])
        self.assertEqual(3, len(self.fake.seen))

    def test_a_connection_that_was_closed_while_idle(self):
        f = trl_reward.SyncWarmReward(self.fake.url)
        self.assertEqual([1], f(["q"], ["1"]))
        old, self.fake.handle = self.fake.handle, lambda h: setattr(h, "close_connection", True)
        threading.Timer(0.3, lambda: setattr(self.fake, "handle", old)).start()
        self.assertEqual([2], f(["q"], ["2"]))

    def test_the_server_is_told_how_long_the_client_waits(self):
        self.rewards(["q"], ["1"], timeout=40)
        self.assertAlmostEqual(40, float(self.fake.seen[0].headers["X-Request-Timeout"]), delta=2)


class Parameters(Case):
    ALL = {"model": "m", "mode": "ens", "aggregate": "mean_minus_std", "truncate": "left", "lambda": 0.25}

    def asked(self):
        r = self.fake.seen[-1]
        return {k: v for k, v in r.body.items() if k not in ("inputs", "on_error")}

    def test_are_sent(self):
        self.rewards(["q"], ["1"], **{"lambda_" if k == "lambda" else k: v for k, v in self.ALL.items()})
        self.assertEqual(self.ALL, self.asked())
        load("verl_reward.py").compute_score_sync("d", "1", "", {"question": "q"}, url=self.fake.url, **self.ALL)
        self.assertEqual(self.ALL, self.asked())

    def test_may_stand_in_the_url(self):
        url = self.fake.url + "?" + urllib.parse.urlencode(self.ALL) + "&key=k"
        self.rewards(["q"], ["1"], url=url)
        self.assertEqual((self.ALL, "key=k"), (self.asked(), self.fake.seen[-1].query))
        self.rewards(["q"], ["1"], url=url, mode="both")
        self.assertEqual(dict(self.ALL, mode="both"), self.asked(), "what is given counts before the URL")
        os.environ["WARM_URL"] = url
        load("verl_reward.py").compute_score_sync("d", "1", "", {"question": "q"})
        self.assertEqual((self.ALL, "key=k"), (self.asked(), self.fake.seen[-1].query))
        load("openrlhf_reward.py").reward_func(["q"], ["p"], [None])
        self.assertEqual({k: str(v) for k, v in self.ALL.items()} | {"key": "k"}, dict(urllib.parse.parse_qsl(self.fake.seen[-1].query)))

    def test_the_aggregate_is_the_reward(self):
        self.assertEqual([1], self.rewards(["q"], ["1"], mode="both"))
        self.assertEqual([-1], self.rewards(["q"], ["1"], mode="both", aggregate="min"))
        self.assertEqual([-1], self.rewards(["q"], ["1"], url=self.fake.url + "/?mode=both&aggregate=min"))
        verl = load("verl_reward.py")
        for options, want in (({}, 1), ({"aggregate": "min"}, -1)):
            got = verl.compute_score_sync("d", "1", "", {"question": "q"}, url=self.fake.url, mode="both", **options)
            self.assertEqual((want, 0.5), (got["score"], got["reward_std"]))

    def test_unknown_options_are_refused(self):
        with self.assertRaisesRegex(TypeError, "agregate"):
            load("verl_reward.py").compute_score_sync("d", "1", "", {"question": "q"}, url=self.fake.url, agregate="min")
        with self.assertRaisesRegex(TypeError, "agregate"):
            trl_reward.WarmReward(self.fake.url, agregate="min")


class Callers(Case):
    def test_the_instance_pickles_and_scores_in_a_spawned_process(self):
        f = trl_reward.SyncWarmReward(self.fake.url, mode="both", aggregate="min", name="mine")
        f(["q"], ["1"])  # with a connection open
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            self.assertEqual([-1, -2], pool.apply(f, (["q", "q"], ["1", "2"])))
        again = pickle.loads(pickle.dumps(trl_reward.WarmReward(self.fake.url, timeout=7, name="mine")))
        self.assertEqual("mine", again.__name__)
        self.assertEqual([3], asyncio.run(again(["q"], ["3"])))

    def test_trl_sees_a_coroutine_function_with_a_name(self):
        f, twin = trl_reward.WarmReward(self.fake.url), trl_reward.SyncWarmReward(self.fake.url)
        self.assertTrue(inspect.iscoroutinefunction(f.__call__))  # is_async_callable of TRL 1.16
        self.assertFalse(inspect.iscoroutinefunction(twin.__call__))
        self.assertEqual(["warm_reward"] * 2, [f.__name__, twin.__name__])

    def test_ms_swift_gives_completions_and_messages(self):
        ask = lambda n: [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": str(n)}]
        more = {"trainer_state": None, "messages": [ask(1), ask(2)], "solution": ["x", "y"]}
        self.assertEqual([1, 2], trl_reward.SyncWarmReward(self.fake.url)(["1", "2"], **more))
        self.assertEqual([1, 2], asyncio.run(trl_reward.WarmReward(self.fake.url)(["1", "2"], **more)))
        self.assertEqual([{"prompt": ask(1)[:2], "responses": ["1", "2"]}], self.fake.seen[-1].body["inputs"])
        with self.assertRaises(ValueError):
            trl_reward.SyncWarmReward(self.fake.url)(["1", "2"])

    def test_verl_has_a_score_for_each_row(self):
        verl, info = load("verl_reward.py"), {"question": "q"}
        self.assertFalse(inspect.iscoroutinefunction(verl.compute_score_sync))
        good = verl.compute_score_sync("d", "3", "", info, url=self.fake.url)
        self.assertEqual({"score": 3, "reward_std": 0, "reward_tokens": 1, "truncated": 0, "refused": 0}, good)
        self.refused(["template_error", "the reason"], verl.compute_score_sync, "d", "BAD", "", info, url=self.fake.url)
        bad = verl.compute_score_sync("d", "BAD", "", info, url=self.fake.url, refused=-5)
        self.assertEqual((-5, 1, list(good)), (bad["score"], bad["refused"], list(good)))
        self.assertEqual(set(good), set(bad))

    def test_verl_pickles_what_a_used_file_holds(self):
        # ray pickles a function of a file with the values that it can reach.
        verl = load("verl_reward.py")
        verl.compute_score_sync("d", "3", "", {"question": "q"}, url=self.fake.url)
        sys.modules["custom_module"] = verl
        self.addCleanup(sys.modules.pop, "custom_module")
        for name, value in vars(verl).items():
            if not name.startswith("__") and not inspect.ismodule(value):
                pickle.loads(pickle.dumps(value))

    def test_verl_reads_the_conversation(self):
        base = types.ModuleType("base")

        class RewardManagerBase:
            def __init__(self, config, tokenizer, compute_score):
                self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score

        base.RewardManagerBase = RewardManagerBase
        name = "verl.experimental.reward_loop.reward_manager.base"
        packages = [name.rsplit(".", i)[0] for i in range(4, 0, -1)]
        sys.modules.update({p: types.ModuleType(p) for p in packages})
        sys.modules[name] = base
        for p in packages + [name]:
            self.addCleanup(sys.modules.pop, p)
        verl = load("verl_reward.py")

        class Ids(list):
            """A row of a tensor, as far as the manager looks at one."""

            shape = property(lambda self: (len(self),))
            __getitem__ = lambda self, i: Ids(list(self)[i]) if isinstance(i, slice) else list(self)[i]
            sum = lambda self: sum(self)

        kwargs = {"url": self.fake.url, "mode": "both", "aggregate": "min"}
        config = types.SimpleNamespace(reward={"custom_reward_function": {"path": None, "reward_kwargs": kwargs}})
        tokenizer = types.SimpleNamespace(decode=lambda ids, skip_special_tokens: " ".join(map(str, ids)))
        manager = verl.WarmRewardManager(config=config, tokenizer=tokenizer, compute_score=None, reward_router_address=None, reward_model_tokenizer=None)
        chat = [{"role": "user", "content": "q"}]
        row = types.SimpleNamespace(
            batch={"responses": Ids([5, 6, 0, 0]), "attention_mask": Ids([0, 1, 1, 1, 0, 0])},
            non_tensor_batch={"raw_prompt": chat, "data_source": "d"},
        )
        got = asyncio.run(manager.run_single([None, row]))
        self.assertEqual([{"prompt": chat, "response": "5 6"}], self.fake.seen[-1].body["inputs"])
        self.assertEqual((-5, -5), (got["reward_score"], got["reward_extra_info"]["score"]))


class Files(unittest.TestCase):
    def test_what_two_files_name_alike_is_the_same(self):
        meanings = collections.defaultdict(set)
        own = {"_ask", "_client", "_prompt"}
        for name in ("trl_reward.py", "verl_reward.py", "openrlhf_reward.py"):
            with open(os.path.join(FILES, name), encoding="utf-8") as f:
                source = f.read()
            for node in ast.parse(source).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in own:
                    meanings[node.name].add(ast.get_source_segment(source, node))
        self.assertLessEqual({"WarmError", "_Client", "_reason", "_encode"}, set(meanings))
        self.assertEqual([], [name for name, texts in meanings.items() if len(texts) > 1])


if __name__ == "__main__":
    unittest.main(warnings="ignore")
