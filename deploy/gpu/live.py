"""What a server on a card must survive: swaps, the end of its worker, a model that does not fit.

    live.py --warm WARM --device cuda --models DIR,DIR [--big DIR] [--seconds 4]

DIR are checkpoints beside each other; that of --big does not fit the card. 32 threads send
one sample a request all the time. Prints one JSON object a line, for each thing that was
tried: {"step", "ok", "figure"}. Exit status 1 if something went wrong.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

KEY = "check-of-a-card"


class Server:
    """warm serve in a process of its own."""

    def __init__(self, warm, device, root, members, log):
        self.keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.keys.write(KEY + "\n")
        self.keys.flush()
        self.log = log
        self.process = subprocess.Popen(
            [warm, "serve", "--addr", "127.0.0.1:0", "--device", device, "--model", "live=" + members,
             "--admin-key-file", self.keys.name, "--model-root", root],
            stdout=subprocess.DEVNULL, stderr=open(log, "w"), env=dict(os.environ, WARM_API_KEY=""))
        self.address = None

    def wait(self, limit):
        """Waits until it is ready."""
        until = time.time() + limit
        while time.time() < until:
            if self.process.poll() is not None:
                break
            m = re.search(r"msg=listening addr=http://(\S+)", open(self.log).read())
            if m:
                self.address = m[1]
                try:
                    if self.call("GET", "/readyz")[0] == 200:
                        return
                except OSError:
                    pass
            time.sleep(0.01)
        sys.exit("live.py: the server is not ready: " + open(self.log).read()[-2000:])

    def call(self, method, path, body=None, limit=60):
        """Returns status, headers and decoded body of a call with the administrator's key."""
        c = http.client.HTTPConnection(self.address, timeout=limit)
        try:
            c.request(method, path, None if body is None else json.dumps(body),
                      {"Authorization": "Bearer " + KEY, "Content-Type": "application/json"})
            r = c.getresponse()
            text = r.read()
            try:
                return r.status, r.headers, json.loads(text)
            except ValueError:
                return r.status, r.headers, text.decode(errors="replace")
        finally:
            c.close()

    def put(self, name, members, limit):
        return self.call("PUT", f"/v1/models/{urllib.parse.quote(name)}?wait=true", {"members": members}, limit)

    def metric(self, name):
        """The sum of a metric over its labels."""
        text = self.call("GET", "/metrics")[2]
        return sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    def worker(self):
        """The process id of the card's worker, or None."""
        for line in ps():
            pid, parent, state = line
            if parent == self.process.pid and state != "Z":
                return pid
        return None


def ps():
    """(pid, parent, state) of all processes."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                f = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(name), int(f[1]), f[0]


class Clients:
    """Threads that send one sample a request, and what they were answered."""

    def __init__(self, server, threads=32):
        self.server = server
        r = random.Random(1)
        prompt = [r.randrange(5, 500) for _ in range(150)]
        self.samples = [[r.randrange(5, 500) for _ in range(n)] for n in (1, 7, 64, 130, 300)]
        self.samples += [prompt + [r.randrange(5, 500) for _ in range(n)] for n in (3, 40, 90)]
        self.lock = threading.Lock()
        self.rewards = collections.defaultdict(set)  # by revision and sample
        self.reset()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def reset(self):
        with self.lock:
            self.statuses = collections.Counter()
            self.wrong = []
            self.slowest = 0.0

    def start(self):
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(30)

    def ask(self, i, connection):
        """Sends a sample; notes its status and its reward, which must be a revision's to the bit."""
        begin = time.time()
        connection.request("POST", "/v1/reward", json.dumps({"model": "live", "inputs": [{"input_ids": self.samples[i]}]}),
                           {"Content-Type": "application/json", "Authorization": "Bearer " + KEY})
        r = connection.getresponse()
        body = json.loads(r.read())
        with self.lock:
            self.statuses[r.status] += 1
            self.slowest = max(self.slowest, time.time() - begin)
            if r.status == 200:
                self.rewards[body["revision"], i].add(reward_of(body))
            elif r.status == 503 and r.headers["Retry-After"]:
                return False
            else:
                self.wrong.append(f"{r.status}: {json.dumps(body)[:300]}")
        return r.status == 200

    def run(self, i):
        connection = http.client.HTTPConnection(self.server.address, timeout=60)
        while not self.stop.is_set():
            try:
                if not self.ask(i % len(self.samples), connection):
                    time.sleep(0.05)  # sooner than Retry-After says, to see more
            except (OSError, http.client.HTTPException, ValueError, KeyError) as e:
                with self.lock:
                    self.wrong.append(f"no answer: {type(e).__name__}: {e}")
                connection.close()
                connection = http.client.HTTPConnection(self.server.address, timeout=60)
                time.sleep(0.05)
            i += 1

    def answered(self):
        with self.lock:
            return self.statuses[200]

    def unlike(self):
        """How many samples got rewards of one revision that are not equal to the bit."""
        with self.lock:
            return sum(len(v) > 1 for v in self.rewards.values())

    def said(self):
        """Statuses and what was wrong, in words."""
        with self.lock:
            out = ", ".join(f"{n} × {s}" for s, n in sorted(self.statuses.items()))
            if self.wrong:
                out += f", {len(self.wrong)} failed ({self.wrong[0]})"
            return out

    def sample(self, seconds):
        """Waits until so many seconds have passed and every thread has been answered."""
        time.sleep(seconds)
        until, before = time.time() + 20, self.answered()
        while self.answered() < before + len(self.threads) and time.time() < until:
            time.sleep(0.02)


def reward_of(body):
    return body["data"][0]["reward"]


failed = False


def tell(step, ok, figure):
    global failed
    failed |= ok is False
    print(json.dumps({"step": step, "ok": ok, "figure": figure}, ensure_ascii=False), flush=True)


def swaps(server, clients, models, a):
    """Exchanges the model under load: nobody may notice."""
    clients.reset()
    clients.sample(a.seconds / 2)
    took, said = [], []
    for members in (models[1], models[0]):
        begin = time.time()
        status, _, body = server.put("live", [members], a.limit)
        took.append(time.time() - begin)
        if status != 200:
            said.append(f"PUT: {status} {json.dumps(body)[:300]}")
        clients.sample(0.3)
    revisions = len({r for r, _ in clients.rewards})
    ok = not said and not clients.wrong and set(clients.statuses) == {200} and revisions == 2 and not clients.unlike()
    tell("swap under load", ok, f"{len(took)} swaps in {' and '.join(f'{t:.1f} s' for t in took)}; "
         f"{clients.said()}; slowest {1e3 * clients.slowest:.0f} ms; {revisions} revisions; "
         f"{clients.unlike()} rewards differ in a bit" + "".join("; " + s for s in said))


def killed(server, clients, a):
    """Kills the card's worker under load: refusals with Retry-After, then the same rewards."""
    pid = server.worker()
    if pid is None:
        return tell("killed worker", None if a.device == "cpu" else False, f"{a.device} has no worker")
    clients.reset()
    before = server.metric("warm_card_restarts_total")
    begin = time.time()
    os.kill(pid, signal.SIGKILL)
    while server.worker() in (pid, None) and time.time() < begin + a.limit:
        time.sleep(0.005)
    at = clients.answered()
    while clients.answered() <= at and time.time() < begin + a.limit:
        time.sleep(0.005)
    back = time.time() - begin
    clients.sample(a.seconds / 2)
    restarts = server.metric("warm_card_restarts_total") - before
    ok = not clients.wrong and set(clients.statuses) <= {200, 503} and clients.answered() > at and restarts == 1 and not clients.unlike()
    tell("killed worker", ok, f"answers again after {back:.1f} s; {clients.said()}; slowest {1e3 * clients.slowest:.0f} ms; "
         f"{restarts:.0f} restart; {clients.unlike()} rewards differ in a bit from those before")


def big(server, clients, a):
    """Asks for a model that does not fit: the answer says what is missing, and nobody else notices."""
    if not a.big:
        return tell("model that does not fit", None, "not asked for")
    clients.reset()
    pid = server.worker()
    begin = time.time()
    status, _, body = server.put("big", [os.path.relpath(a.big, a.root)], a.limit)
    took = time.time() - begin
    text = json.dumps(body, ensure_ascii=False)
    m = re.search(r"[^\"]*GB are needed[^\"]*GB are free", text)
    clients.sample(a.seconds / 2)
    ok = (status >= 400 and m is not None and not clients.wrong and set(clients.statuses) == {200}
          and server.worker() == pid and not clients.unlike())
    tell("model that does not fit", ok, f"{status} after {took:.1f} s: {m[0].strip() if m else text[:300]}; meanwhile {clients.said()}; "
         f"{clients.unlike()} rewards differ in a bit")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--warm", required=True)
    p.add_argument("--device", default="cuda")
    p.add_argument("--models", required=True)
    p.add_argument("--big")
    p.add_argument("--seconds", type=float, default=4)
    p.add_argument("--limit", type=float, default=20, help="for a swap, a restart or a start")
    p.add_argument("--log", default=os.path.join(tempfile.gettempdir(), "live-server.log"))
    a = p.parse_args()
    dirs = a.models.split(",")
    a.root = os.path.realpath(os.path.dirname(dirs[0]) or ".")
    names = [os.path.relpath(d, a.root) for d in dirs]
    server = Server(a.warm, a.device, a.root, dirs[0], a.log)
    try:
        server.wait(a.limit)
        clients = Clients(server)
        alone = http.client.HTTPConnection(server.address, timeout=60)
        for i in range(len(clients.samples)):  # alone, before others share its batches
            clients.ask(i, alone)
        clients.start()
        swaps(server, clients, names, a)
        killed(server, clients, a)
        big(server, clients, a)
        clients.end()
        server.process.send_signal(signal.SIGTERM)
        try:
            code = server.process.wait(10)
        except subprocess.TimeoutExpired:
            code = "no end within 10 s"
        if code != 0:
            tell("end of the server", False, f"SIGTERM: {code}: " + open(a.log).read()[-300:])
    finally:
        server.process.kill()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
