"""A fleet on a real Ray cluster of this machine, for client_ray_test.go: reads
{"files", "binary", "first", "second", "broken", "inputs"} from stdin, goes through a
fleet's life and prints what it saw. An assertion that fails ends it.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

job = json.load(sys.stdin)
sys.path.insert(0, job["files"])
os.environ["RAY_DEDUP_LOGS"] = "0"

import ray  # noqa: E402

import warm_ray  # noqa: E402

SAW = {}


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(what, seconds=60.0, said=None):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, ("not in time", said and said())
        time.sleep(0.05)


def gone(pids):
    until(lambda: not any(map(alive, pids)))


class Load:
    """Scores the inputs again and again, in threads, while something happens."""

    def __init__(self, fleet):
        self.fleet, self.seen, self.raised, self.going = fleet, [], [], True
        self.threads = [threading.Thread(target=self.run) for _ in range(3)]

    def run(self):
        while self.going:
            try:
                self.seen.append(tuple(self.fleet.score(job["inputs"], timeout=60)))
            except Exception as e:
                self.raised.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        before = len(self.seen)
        until(lambda: self.raised or len(self.seen) >= before + 6)  # what came after was scored, too
        self.going = False
        for t in self.threads:
            t.join()
        assert not self.raised, self.raised[:3]


def scored_by(fleet, url):
    request = urllib.request.Request(url + "/metrics", headers={"Authorization": "Bearer " + fleet.key})
    for line in urllib.request.urlopen(request).read().decode().splitlines():
        if line.startswith('warm_sequences_total{model="m"}'):
            return float(line.split()[1])
    return 0.0


@ray.remote(num_cpus=0)
def elsewhere(fleet, inputs):
    return fleet.score(inputs)


def life():
    fleet = warm_ray.start({"m": [job["first"]]}, replicas=1, binary=job["binary"], name="rewards")
    SAW["first"] = fleet.score(job["inputs"])
    assert ray.get(elsewhere.remote(fleet, job["inputs"])) == SAW["first"]
    assert warm_ray.connect("rewards").score(job["inputs"]) == SAW["first"]

    # kill -9 of the process under load: it comes back at its address, nothing fails.
    one = fleet.status()[0]
    with Load(fleet) as load:
        os.kill(one["pid"], signal.SIGKILL)
        until(lambda: [s["restarts"] for s in fleet.status() if s["ready"]] == [1])
    again = fleet.status()[0]
    assert again["url"] == one["url"] and again["pid"] != one["pid"]
    assert set(load.seen) == {tuple(SAW["first"])}
    SAW["while_killed"] = len(load.seen)

    # From one to two: both score.
    fleet.scale(2)
    urls = fleet.urls()
    assert len(urls) == 2, urls
    before = [scored_by(fleet, u) for u in urls]
    fleet = warm_ray.connect("rewards")
    for _ in range(4):
        assert fleet.score(job["inputs"]) == SAW["first"]
    assert all(scored_by(fleet, u) > b for u, b in zip(urls, before))

    # A swap under load: each call is one revision's or, of several requests, both; nothing fails.
    with Load(fleet) as load:
        revision = fleet.swap("m", members=[job["second"]])
    assert [s["models"]["m"] for s in fleet.status()] == [revision] * 2
    SAW["second"] = fleet.score(job["inputs"], revision=revision)
    assert set(load.seen) <= {tuple(SAW["first"]), tuple(SAW["second"])} and load.seen[-1] == tuple(SAW["second"])
    try:
        fleet.swap("m", members=[job["broken"]])
        raise AssertionError("a broken checkpoint is no model")
    except warm_ray.WarmError as e:
        SAW["refused"] = {"code": e.code, "status": e.status}
    assert fleet.score(job["inputs"]) == SAW["second"]

    # An actor that is killed takes its process with it, and starts anew with what is live.
    lost = fleet.status()[1]
    with open("/proc/%d/stat" % lost["pid"], encoding="utf-8") as f:
        os.kill(int(f.read().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    gone([lost["pid"]])
    with Load(fleet) as load:
        until(lambda: len(fleet.urls()) == 2 and all(s["pid"] != lost["pid"] for s in fleet.status()))
    assert set(load.seen) == {tuple(SAW["second"])}
    until(lambda: [s["models"].get("m") for s in fleet.status()] == [revision] * 2, said=fleet.status)  # a look may be late

    # What is refused.
    SAW["hole"] = fleet.score(job["inputs"][:1] + [{"messages": []}])
    for bad, fields in ([[("a", "b")], {"model": "nobody"}], [[{"messages": []}], {}]):
        try:
            fleet.score(bad, **fields)
            raise AssertionError("refused")
        except warm_ray.WarmError as e:
            SAW.setdefault("raised", []).append(e.code)

    pids = [s["pid"] for s in fleet.status()]
    with Load(fleet):
        fleet.scale(1)
        gone(pids[1:])
    fleet.shutdown()
    gone(pids)


def served():
    from ray import serve

    kind = warm_ray.deployment(num_replicas=1, user_config={"models": {"m": [job["first"]]}})
    serve.run(kind.bind({"m": [job["first"]]}, binary=job["binary"]))
    url = "http://127.0.0.1:8000"

    def ask(path, body, method="POST"):
        request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request) as r:
                return r.status, json.load(r), r.headers
        except urllib.error.HTTPError as e:
            return e.code, json.load(e), e.headers

    inputs = [{"prompt": p, "responses": [a] if isinstance(a, str) else a} for p, a in job["inputs"]]
    status, reply, headers = ask("/v1/reward?model=m", {"inputs": inputs})
    assert status == 200 and headers["X-Model-Revision"], reply
    SAW["served"] = [d["reward"] for d in reply["data"]]
    status, reply, _ = ask("/get_reward?scores=raw", {"query": ["a text"], "prompts": ["a"]})
    assert status == 200, reply
    SAW["dialect"] = reply["rewards"][0]
    assert ask("/v1/models/m", None, "DELETE")[0] in (401, 403)
    # Another checkpoint in place, by Serve's own way.
    serve.run(kind.options(user_config={"models": {"m": [job["second"]]}}).bind({"m": [job["first"]]}, binary=job["binary"]))
    SAW["reconfigured"] = [d["reward"] for d in ask("/v1/reward", {"inputs": inputs})[1]["data"]]
    serve.shutdown()


def processes():
    """The processes of warm that this test's binary runs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/exe" % pid) == os.path.realpath(job["binary"]):
                found.append(int(pid))
        except OSError:
            pass
    return found


ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=job["temporary"])
try:
    warm_ray.start({"m": [job["broken"]]}, binary=job["binary"])
    raise AssertionError("a broken checkpoint starts no fleet")
except Exception as e:
    SAW["start"] = str(e)
assert not processes(), processes()
life()
assert not processes(), processes()
served()
until(lambda: not processes())
warm_ray.start({"m": [job["first"]]}, binary=job["binary"])  # and a driver that ends without a word
assert len(processes()) == 1
ray.shutdown()
until(lambda: not processes())
print(json.dumps(SAW))
