"""What card there is, and its clock. card.py prints the card as JSON, or why there is none."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request


def find():
    """The first card, by the driver's library alone."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as e:
        return {"missing": f"no driver: {e}"}

    def call(name, *args):
        status = getattr(cuda, name)(*args)
        if status:
            text = ctypes.c_char_p()
            cuda.cuGetErrorString(status, ctypes.byref(text))
            raise RuntimeError(f"{name}: {status} {(text.value or b'').decode()}")

    def number(name, *args):
        n = ctypes.c_int()
        call(name, ctypes.byref(n), *args)
        return n.value

    try:
        call("cuInit", 0)
        version = number("cuDriverGetVersion")
        if number("cuDeviceGetCount") == 0:
            return {"missing": "the driver finds no card"}
        device = number("cuDeviceGet", 0)
        name = ctypes.create_string_buffer(100)
        call("cuDeviceGetName", name, 100, device)
        memory = ctypes.c_size_t()
        call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        attribute = lambda i: number("cuDeviceGetAttribute", i, device)
        return {"name": name.value.decode(), "cuda": f"{version // 1000}.{version % 1000 // 10}", "sms": attribute(16),
                "capability": 10 * attribute(75) + attribute(76), "memory": memory.value, "driver": driver()}
    except RuntimeError as e:
        return {"missing": f"the driver gives no card: {e}"}


def driver():
    """The driver's release."""
    try:
        m = re.search(r"(?:Module|for \S+) +(\d+\.\d+[.\d]*)", open("/proc/driver/nvidia/version").read())
        return m[1] if m else "?"
    except OSError:
        return "?"


class Clock:
    """The clock of the card's multiprocessors while it works: nvidia-smi twice a second, or a server's metrics."""

    def __init__(self):
        self.samples = []  # (time, MHz)
        self.source = ""
        self.process = None
        if tool := shutil.which("nvidia-smi"):
            reader, writer = os.openpty()  # to a terminal it writes each line at once
            self.process = subprocess.Popen(
                [tool, "-i", "0", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "-lms", "500"],
                stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL)
            os.close(writer)
            threading.Thread(target=self.read, args=(open(reader, errors="replace"),), daemon=True).start()

    def read(self, lines):
        try:
            for line in lines:
                try:
                    self.samples.append((time.time(), float(line.strip())))
                    self.source = "nvidia-smi"
                except ValueError:
                    pass  # [N/A]
        except OSError:
            pass  # it has ended

    def watch(self, url, seconds):
        """Asks a server for so many seconds, if nvidia-smi says nothing."""
        def ask():
            until = time.time() + seconds
            while time.time() < until and self.source != "nvidia-smi":
                try:
                    text = urllib.request.urlopen(url + "/metrics", timeout=2).read().decode()
                    m = re.search(r"^warm_card_clock_hertz\S* (\S+)$", text, re.M)
                    if m:
                        self.samples.append((time.time(), float(m[1]) / 1e6))
                        self.source = "the server's metrics"
                except OSError:
                    pass
                time.sleep(0.5)
        threading.Thread(target=ask, daemon=True).start()

    def end(self):
        if self.process:
            self.process.kill()


if __name__ == "__main__":
    json.dump(find(), sys.stdout)
