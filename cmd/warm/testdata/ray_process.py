"""What of warm_ray.py needs no Ray, with a module in Ray's place, for
client_ray_process_test.go: reads {"files", "binary", "first", "second", "inputs"} from
stdin and prints what it saw.
"""

import json
import os
import signal
import sys
import threading
import time
import types

job = json.load(sys.stdin)
sys.path.insert(0, job["files"])

ray = types.ModuleType("ray")
ray.cloudpickle = types.SimpleNamespace(register_pickle_by_value=lambda module: None)
ray.get = lambda value: value
ray.get_runtime_context = lambda: types.SimpleNamespace(get_node_id=lambda: "here")
sys.modules["ray"] = ray

import warm_ray  # noqa: E402

SAW = {}


class Method:
    def __init__(self, f):
        self.remote = f


class Actor:
    """The fleet's actor, as a handle sees it, with one process and an address where nothing listens."""

    def __init__(self, process):
        self.secret = Method(lambda: "a-secret-key")
        self.urls = Method(lambda: [process.url, "http://127.0.0.1:1"])


settings = {"num_cpus": 1, "binary": job["binary"], "args": [], "start_timeout": 60.0, "key": "a-secret-key", "admin": "another-key"}
process = warm_ray._Process({"m": {"members": [job["first"]]}}, settings, "127.0.0.1")
fleet = warm_ray.Fleet(Actor(process))
SAW["first"] = fleet.score(job["inputs"])
told = process.status()
assert told["ready"] and list(told["models"]) == ["m"], told

# A process that is killed in the middle of what it is asked comes back; what was asked is answered.
scores = []
thread = threading.Thread(target=lambda: [scores.append(fleet.score(job["inputs"])) for _ in range(20)])
thread.start()
os.kill(told["pid"], signal.SIGKILL)
thread.join()
assert scores == [SAW["first"]] * 20, scores
again = process.status()
assert again["restarts"] == 1 and again["pid"] != told["pid"] and again["url"] == told["url"], again

# A swap outlives the next process.
revision, refused = process.put("m", {"members": [job["second"]]}, 60.0)
assert refused is None, refused
SAW["second"] = fleet.score(job["inputs"], revision=revision)
os.kill(process.status()["pid"], signal.SIGKILL)
assert fleet.score(job["inputs"]) == SAW["second"]
_, refused = process.put("m", {"members": ["/no/such/place"]}, 60.0)
SAW["refused"] = refused[2]

SAW["hole"] = fleet.score(job["inputs"][:1] + [{"messages": []}])
for fields in ({"model": "nobody"}, {"revision": "sha256:0123456789"}):
    try:
        fleet.score(job["inputs"], **fields)
        raise AssertionError("refused")
    except warm_ray.WarmError as e:
        SAW.setdefault("raised", []).append(e.code)
many = [("q", ["a %d" % i for i in range(300)])] * 4
assert len(warm_ray._chunks([warm_ray._input(i) for i in many])) == 4
assert len(fleet.score(many)) == 1200

pid = process.status()["pid"]
process.stop()
assert not os.path.exists("/proc/%d" % pid)
assert not os.path.exists(process._dir)
try:
    warm_ray._Process({"m": {"members": ["/no/such/place"]}}, settings, "127.0.0.1")
except RuntimeError as e:
    SAW["start"] = str(e)
print(json.dumps(SAW))
