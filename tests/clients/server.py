"""What the client tests share: a server of the real binary, its URL, and what it said when a test fails."""

import atexit
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPAN = os.environ.get("SAMPAN", str(ROOT / "build/dev/apps/sampan/sampan"))
CLIENTS = pathlib.Path(os.environ.get("SAMPAN_CLIENTS_FOLDER", ROOT / "build/clients"))
NANO = ROOT / "models/nano"
MODEL = "nano"

QUESTION = "Where is my order 48213?"
ANSWER = (  # greedy, as models/nano/golden.json has it from transformers
    "I can't see order 48213 from here. Please log in to your account at shop.example.com and open Order History, "
    "or call us at +1 555 0142."
)

# Clients look at these: the server is on this machine, no proxy leads to it and no key is the user's own.
for name in (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "OLLAMA_HOST",
    "OLLAMA_API_KEY",
):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)


class Server:
    """`sampan serve` on a port of the system's choice. Its standard error goes to a file."""

    def __init__(self, *arguments, models=(NANO,), env=None):
        self._log = tempfile.NamedTemporaryFile("w+", prefix="sampan-serve-", suffix=".log")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SAMPAN_")}
        self._process = subprocess.Popen(
            [SAMPAN, "serve", *map(str, models), "--port", "0", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**environment, **(env or {})},
        )
        atexit.register(self.stop)
        self.url = self._wait_for_url()

    def said(self):
        """What it wrote so far, the last of it when that is much."""
        return pathlib.Path(self._log.name).read_text(errors="replace")[-8000:] if self._log else ""

    def stop(self):
        """Ends it as an operator would; kills it when it does not drain."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _wait_for_url(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"^Sampan serves .* on (http://\S+)$", self.said(), re.MULTILINE)
            if found:
                return found[1]
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"no server within 120 s; it said:\n{self.said()}")


class ServerTest(unittest.TestCase):
    """Tests that share one server, made with the class's `arguments` and `models`."""

    arguments = ()
    models = (NANO,)

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.arguments, models=cls.models)
        cls.addClassCleanup(cls._stop)
        cls.url = cls.server.url

    @classmethod
    def _stop(cls):
        status = cls.server.stop()
        if status != 0:
            raise AssertionError(f"the server ended with {status}; it said:\n{cls.server.said()}")

    def run(self, result=None):
        def failed():
            return len(result.failures) + len(result.errors) if result else 0

        before = failed()
        super().run(result)
        if failed() > before:
            print(f"-- the server when {self.id()} failed:\n{self.server.said()}", file=sys.stderr)
