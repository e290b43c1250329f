"""Programs that run beside a test, each ended by it, and waiting for what they do."""

import contextlib
import json
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent.parent
TIDEMARK = ROOT / "target" / "debug" / "tidemark"
PROMETHEUS = ROOT / "target" / "operate" / "prometheus" / "usr" / "bin"
CHART = ROOT / "helm" / "tidemark"
BOUND = 60


@contextlib.contextmanager
def running(log, *command, **more):
    """Runs until the block ends; whatever it says goes into a file."""
    with open(log, "w") as said:
        process = subprocess.Popen([*map(str, command)], stdout=said, stderr=subprocess.STDOUT, **more)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def get(url, **query):
    """The JSON at an address; None while nobody answers."""
    if query:
        url = f"{url}?{urllib.parse.urlencode(query)}"
    with contextlib.suppress(OSError):
        return json.load(urllib.request.urlopen(url, timeout=10))
    return None


def is_up(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=5).status == 200
    return False


def until(what, holds, bound=BOUND, process=None):
    """Looks again and again; what it saw, once it is what we wait for. Ends with the process."""
    end = time.monotonic() + bound
    while not (seen := holds()):
        assert process is None or process.poll() is None, f"the process has ended; never came: {what}"
        assert time.monotonic() < end, f"never came: {what() if callable(what) else what}"
        time.sleep(0.1)
    return seen
