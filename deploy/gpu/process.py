"""Processes that end: each in a session of its own, killed as a whole when its time is up."""

import os
import signal
import subprocess
import time

TIME_IS_UP = 124


class Process:
    """A command with its output in files, started at once."""

    def __init__(self, argv, log, cwd=None, env=None, out=None):
        self.log, self.out = log, out or log
        self.begin = time.time()
        err = open(log, "w")
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=open(out, "w") if out else err, stderr=err if out else subprocess.STDOUT,
            cwd=cwd, env=env, start_new_session=True)

    def wait(self, limit):
        """Its exit status, TIME_IS_UP after limit seconds. Nothing of it is left."""
        try:
            code = self.process.wait(max(0.1, limit))
        except subprocess.TimeoutExpired:
            code = TIME_IS_UP
        self.kill()
        if code == TIME_IS_UP:
            with open(self.log, "a") as f:
                f.write(f"\nstopped after {time.time() - self.begin:.0f} s, its limit\n")
        return code

    def stop(self, limit):
        """Asks it to end, and sees to it."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait(limit)

    def kill(self):
        """Ends all processes of its session: a worker is in a process group of its own."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    fields = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
                    if int(fields[3]) == self.process.pid and fields[0] != "Z":
                        os.kill(int(name), signal.SIGKILL)
                except OSError:
                    pass  # it has ended
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass  # the kernel holds it, as when a driver hangs

    def text(self):
        """What it has printed, results before messages."""
        texts = [open(f, errors="replace").read() for f in dict.fromkeys((self.out, self.log))]
        return "\n".join(texts)

    def results(self):
        return open(self.out, errors="replace").read()
