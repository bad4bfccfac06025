"""The life of `sampan serve`: configuration, keys, signals, faults. Standard library only; official clients are in tests/clients."""

import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from support import NANO, SAMPAN, CliTest, run

QUESTION = {"messages": [{"role": "user", "content": "Where is my order 48213?"}], "temperature": 0}


class ServeTest(CliTest):
    def start(self, *arguments, models=(NANO,), env=None):
        log = open(self.folder / f"serve-{time.monotonic_ns()}.log", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen([SAMPAN, "serve", *map(str, models), "--port", "0", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env={**os.environ, **(env or {})})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.log = pathlib.Path(log.name)
        self.wait_for(lambda: "Sampan serves" in process.log.read_text() or process.poll() is not None)
        found = re.search(r" on http://([\d.]+):(\d+)$", process.log.read_text(), re.MULTILINE)
        process.address = (found[1], int(found[2])) if found else None
        return process

    def wait_for(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def ask(self, process, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*process.address, timeout=60)
        self.addCleanup(connection.close)
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text.startswith(b"{") else text

    def broken_model(self):
        """A folder with a configuration and weights that do not belong together."""
        folder = self.folder / "broken"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text((NANO / "config.json").read_text())
        (folder / "model.safetensors").write_bytes(b"\0" * 64)
        return folder

    def begin_stream(self, process, tokens=1500):
        """A streamed answer that goes on; returns its socket file after the first piece."""
        body = json.dumps({**QUESTION, "stream": True, "max_tokens": tokens, "ignore_eos": True}).encode()
        connection = socket.create_connection(process.address, timeout=60)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        reader = connection.makefile("rb")
        self.addCleanup(reader.close)
        self.assertIn(b" 200 ", reader.readline())
        while b'"content"' not in reader.readline():
            pass
        return connection, reader

    # Configuration

    def test_check_prints_the_memory_plan(self):
        result = run("serve", NANO, "--check", "--memory", "2GB")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("memory for models: 2.00 GB", result.stderr)
        self.assertIn("nano: qwen3", result.stderr)

    def test_flags_win_over_the_environment_over_the_file(self):
        config = self.folder / "sampan.toml"
        config.write_text(f'memory = "3GB"\nmax_waiting = 5\n[[model]]\nname = "shop"\nmodel = "{NANO}"\naliases = ["gpt-4o-mini"]\nkv_memory = "64MiB"\n')
        plan = lambda *arguments, **env: run("serve", "--config", config, "--check", *arguments, env=env).stderr
        self.assertIn("memory for models: 3.00 GB", plan())
        self.assertIn("shop: qwen3", plan())
        self.assertIn("memory for models: 2.00 GB", plan(SAMPAN_MEMORY="2GB"))
        self.assertIn("memory for models: 1.00 GB", plan("--memory", "1GB", SAMPAN_MEMORY="2GB"))

    def test_bad_configuration_is_named(self):
        self.refused("serve", says="no model is named")
        self.refused("serve", NANO, "--port", "70000", says="--port: 70000 is not in 0 to 65535")
        self.refused("serve", NANO, "--memory", "much", says="--memory")
        self.refused("serve", NANO, "--host", "0.0.0.0", "--check", says="set an api_key or a keys_file first")
        self.refused("serve", NANO, NANO, "--check", says="two models are named nano")
        self.refused("serve", NANO, "--memory", "1MB", "--check", says="are more than")
        self.refused("serve", NANO, env={"SAMPAN_KV_TYPE": "f8"}, says="SAMPAN_KV_TYPE")
        config = self.folder / "bad.toml"
        for text, says in [("port = ", "bad.toml:1:"), ("prot = 1", 'no setting "prot"'), ("port = 1.5", "bad.toml:1:"), ("[[model]]\nnmae = 1", 'no setting "nmae"'),
                           ("[[model]]\nname = 'x'", "has no model"),
                           (f"[[model]]\nmodel = '{NANO}'\naliases = ['b']\n[[model]]\nname = 'b'\nmodel = '{NANO}'", "two models are named b")]:
            config.write_text(text)
            self.refused("serve", "--config", config, "--check", says=says)

    def test_the_reference_pages_are_the_codes(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        self.assertEqual(self.ok("serve", "--reference"), (root / "docs/reference/configuration.md").read_text())
        self.assertEqual(self.ok("serve", "--api-reference"), (root / "docs/reference/api.md").read_text())

    # Keys

    def test_every_route_but_health_wants_the_key(self):
        server = self.start("--api-key", "secret-1", "--api-key", "secret-2")
        for method, path in [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/nothing"), ("GET", "/")]:
            self.assertEqual(self.ask(server, method, path)[0], 401, path)
            self.assertEqual(self.ask(server, method, path, headers={"Authorization": "Bearer wrong"})[0], 401, path)
        self.assertEqual(self.ask(server, "GET", "/health")[0], 200)
        for key in ("secret-1", "secret-2"):
            self.assertEqual(self.ask(server, "GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})[0], 200)
        self.assertNotIn("secret", server.log.read_text())

    def test_sighup_reads_keys_and_models_again(self):
        keys = self.folder / "keys"
        keys.write_text("alice first-key # comment\n")
        config = self.folder / "sampan.toml"
        model = f'[[model]]\nname = "{{}}"\nmodel = "{NANO}"\n'
        config.write_text(f'keys_file = "{keys}"\n' + model.format("a"))
        server = self.start("--config", config, models=())
        with_key = lambda key: self.ask(server, "GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        self.assertEqual(with_key("first-key")[0], 200)
        keys.write_text("second-key\n")
        config.write_text(f'keys_file = "{keys}"\n' + model.format("b"))
        server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: with_key("second-key")[0] == 200)
        self.assertEqual(with_key("first-key")[0], 401)
        self.assertEqual([m["id"] for m in with_key("second-key")[1]["data"]], ["b"])
        keys.write_text("")
        server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: "nothing is changed" in server.log.read_text())
        self.assertEqual(with_key("second-key")[0], 200)
        # A mistake in the models leaves the keys as they were.
        keys.write_text("third-key\n")
        config.write_text(f'keys_file = "{keys}"\n[[model]]\nname = "c"\nmodel = "/nowhere"\n')
        server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: server.log.read_text().count("nothing is changed") == 2)
        self.assertEqual((with_key("second-key")[0], with_key("third-key")[0]), (200, 401))
        config.write_text(f'keys_file = "{keys}"\n[[model]]\nname = "c"\nmodel = "{self.broken_model()}"\n')
        server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: server.log.read_text().count("nothing is changed") == 3)
        self.assertEqual((with_key("second-key")[0], with_key("third-key")[0]), (200, 401))

    def test_a_model_that_cannot_be_loaded_is_told_without_paths(self):
        folder = self.folder / "wordless"
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).symlink_to(NANO / name)
        checked = run("serve", NANO, folder, "--check")
        self.assertEqual(checked.returncode, 2)
        self.assertIn("no tokenizer.json", checked.stderr)
        server = self.start(models=(NANO, folder))
        for path, body in [("/v1/chat/completions", QUESTION), ("/v1/completions", {"prompt": "a"}), ("/api/show", {}), ("/v1/messages", {**QUESTION, "max_tokens": 1})]:
            status, reply = self.ask(server, "POST", path, {**body, "model": "wordless"})
            self.assertEqual(status, 500, path)
            self.assertIn("could not be loaded", json.dumps(reply))
            self.assertNotIn(str(self.folder), json.dumps(reply))
        self.assertIn(f"{folder}: no tokenizer.json", server.log.read_text())

    # sampan run as a client

    def test_run_talks_to_a_server(self):
        server = self.start("--api-key", "k")
        url = "http://%s:%d" % server.address
        here = self.ok("run", NANO, "Where is my order 48213?", "--greedy")
        there = self.ok("run", "nano", "Where is my order 48213?", "--greedy", "--server", url, "--api-key", "k")
        self.assertEqual(there, here)
        self.refused("run", "nano", "hi", "--server", url, "--api-key", "wrong", says="the server:")
        self.refused("run", "gpt-4", "hi", "--server", url, "--api-key", "k", says="does not exist")
        self.refused("run", "nano", "hi", "--server", "127.0.0.1:1", says="http://127.0.0.1:1/v1/chat/completions")

    # Log

    def test_the_log_is_json_without_content(self):
        server = self.start()
        self.assertEqual(self.ask(server, "POST", "/v1/chat/completions?secret=1", {**QUESTION, "max_tokens": 3})[0], 200)
        server.send_signal(signal.SIGHUP)
        self.wait_for(lambda: "configuration reloaded" in server.log.read_text())
        server.terminate()
        self.assertEqual(server.wait(30), 0)
        text = server.log.read_text()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        self.assertEqual([line["message"] for line in lines],
                         ["model loaded", "server started", "request", "configuration reloaded", "draining", "server stopped"])  # fmt: skip
        for line in lines:
            self.assertEqual(line["level"], "info")
            self.assertAlmostEqual(line["time"], time.time(), delta=600)
        self.assertEqual((lines[0]["model"], lines[1]["models"], lines[2]["path"], lines[2]["status"]), ("nano", 1, "/v1/chat/completions", 200))
        self.assertNotIn("secret", text)
        self.assertEqual(text.count("48213"), 2)  # of the two commands that the program shows at its start
        quiet = self.start("--log", "none")
        self.ask(quiet, "GET", "/health")
        self.assertNotIn("{\"level\"", quiet.log.read_text())

    # Traces

    def collector(self):
        """An OTLP/HTTP collector on loopback; returns its URL and the requests that it gets."""
        requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return "http://127.0.0.1:%d" % server.server_address[1], requests

    def test_traces_are_sent_until_the_end(self):
        url, requests = self.collector()
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url + "/base", "OTEL_EXPORTER_OTLP_HEADERS": "x-token=s3cret%20x",
                       "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other", "OTEL_SERVICE_NAME": "shop"}  # fmt: skip
        server = self.start(env=environment)
        self.assertIn(f"traces go to {url}/base/v1/traces", server.log.read_text())
        parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        self.assertEqual(self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 3}, parent)[0], 200)
        server.terminate()
        self.assertEqual(server.wait(30), 0)
        self.assertEqual([path for path, _, _ in requests], ["/base/v1/traces"])
        _, headers, body = requests[0]
        self.assertEqual((headers["Content-Type"], headers["x-token"]), ("application/json", "s3cret x"))
        resource = {one["key"]: one["value"]["stringValue"] for one in body["resourceSpans"][0]["resource"]["attributes"]}
        self.assertEqual((resource["service.name"], resource["deployment.environment.name"]), ("shop", "test"))
        spans = {span["name"]: span for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]}
        self.assertEqual(set(spans), {"POST /v1/chat/completions", "chat nano"})
        self.assertEqual({span["traceId"] for span in spans.values()}, {"0af7651916cd43dd8448eb211c80319c"})
        self.assertNotIn("48213", json.dumps(body))
        log = server.log.read_text()
        self.assertIn('"trace_id":"0af7651916cd43dd8448eb211c80319c"', log)
        self.assertNotIn("s3cret", log)

    def test_a_collector_that_is_gone_harms_nobody(self):
        server = self.start("--otlp-endpoint", "http://127.0.0.1:1")
        self.assertEqual(self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 3})[0], 200)
        server.terminate()
        self.assertEqual(server.wait(30), 0)
        self.assertIn("spans were not taken by the collector", server.log.read_text())

    def test_bad_trace_settings_are_named(self):
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
        for env, says in [({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otlp_protocol: \"grpc\" is not supported; traces are sent as http/json"),
                          ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "otlp_headers: entry 1 is not name=value"), ({"OTEL_TRACES_SAMPLER": "some"}, "otel_traces_sampler"),
                          ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "otel_traces_sampler"), ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT"),
                          ({"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://c:4317"}, "otlp_endpoint"), ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"}, "otlp_certificate")]:  # fmt: skip
            self.refused("serve", NANO, "--check", env={**endpoint, **env}, says=says)
        check = lambda env, *arguments: run("serve", NANO, "--check", *arguments, env=env)
        self.assertIn("traces go to http://127.0.0.1:4318/v1/traces", check({**endpoint, "OTEL_EXPORTER_OTLP_HEADERS": ""}).stderr)
        for env in ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {**endpoint, "OTEL_SDK_DISABLED": "TRUE"}, {**endpoint, "OTEL_TRACES_EXPORTER": "none"},
                    {**endpoint, "OTEL_TRACES_SAMPLER": "always_off"}):  # fmt: skip
            result = check(env)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("traces go", result.stderr)

    # Signals and faults

    def test_sigterm_lets_streams_finish(self):
        server = self.start("--drain-time", "300s")  # a slow machine under a sanitizer
        _, reader = self.begin_stream(server, tokens=600)
        server.send_signal(signal.SIGTERM)
        self.wait_for(lambda: "draining" in server.log.read_text())
        self.assertEqual(self.ask(server, "GET", "/health")[0], 503)
        rest = reader.read()
        self.assertIn(b"data: [DONE]", rest)
        self.assertEqual(server.wait(30), 0)

    def test_killed_under_load_it_starts_again(self):
        server = self.start()
        streams = [self.begin_stream(server) for _ in range(4)]
        server.kill()
        server.wait()
        for _, reader in streams:
            try:
                self.assertNotIn(b"[DONE]", reader.read())
            except OSError:
                pass
        again = self.start()
        self.assertEqual(self.ask(again, "POST", "/v1/chat/completions", QUESTION)[0], 200)

    def test_clients_that_leave_free_the_engine(self):
        server = self.start()
        for _ in range(8):
            connection, _ = self.begin_stream(server)
            connection.shutdown(socket.SHUT_RDWR)
        running = lambda: re.search(rb'^vllm:num_requests_running\{[^}]*\} (\S+)$', self.ask(server, "GET", "/metrics")[1], re.MULTILINE)
        self.wait_for(lambda: float(running()[1]) == 0)
        self.assertEqual(self.ask(server, "POST", "/v1/chat/completions", QUESTION)[0], 200)

    @unittest.skipIf("address" in os.environ.get("SANITIZERS", ""), "AddressSanitizer keeps freed memory back")
    def test_bodies_of_many_values_leave_no_memory_behind(self):
        server = self.start()
        body = b'{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"x":[' + b"{}," * 3_000_000 + b"0]}"
        resident = lambda: int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{server.pid}/status").read_text())[1]) << 10

        def send():
            connection = http.client.HTTPConnection(*server.address, timeout=60)
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()

        before = resident()
        for _ in range(4):
            send()
        self.wait_for(lambda: resident() < before + (100 << 20), 20)

    def test_out_of_cache_memory_everybody_is_answered(self):
        server = self.start("--kv-memory", "1MiB", "--kv-type", "f16")
        alone = self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 60})[1]["choices"][0]["message"]["content"]
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 60}))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([status for status, _ in answers], [200] * 12)
        self.assertEqual({body["choices"][0]["message"]["content"] for _, body in answers}, {alone})

    def test_a_full_queue_says_503(self):
        server = self.start("--max-running", "1", "--max-waiting", "1")
        streams = [self.begin_stream(server)]
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 2})[0])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertIn(503, statuses)
        self.assertLessEqual(set(statuses), {200, 503})
        streams.clear()

    def test_two_models_swap_within_their_memory(self):
        server = self.start("--memory", "60MB", "--kv-memory", "20MB", models=(f"a={NANO}", f"b={NANO}"))
        for model in ("a", "b", "a"):
            self.assertEqual(self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "model": model, "max_tokens": 3})[0], 200)

    def test_an_idle_server_uses_no_cpu(self):
        server = self.start()
        self.ask(server, "POST", "/v1/chat/completions", {**QUESTION, "max_tokens": 3})
        time.sleep(0.3)
        ticks = lambda: sum(int(n) for n in pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
        before = ticks()
        time.sleep(1.0)
        self.assertLessEqual(ticks() - before, 1)

    def test_tls(self):
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)  # fmt: skip
        server = self.start("--tls-certificate", certificate, "--tls-key", key)
        port = int(re.search(r" on https://127\.0\.0\.1:(\d+)$", server.log.read_text(), re.MULTILINE)[1])
        trusting = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting, timeout=60)
        self.addCleanup(connection.close)
        for _ in range(2):  # kept alive
            connection.request("POST", "/v1/chat/completions", json.dumps({**QUESTION, "max_tokens": 3}), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            self.assertEqual(reply.status, 200)
            reply.read()
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.addCleanup(plain.close)
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertNotIn(b"HTTP/1.1 200", plain.recv(1000))
        refused = run("serve", NANO, "--check", "--tls-certificate", key, "--tls-key", key)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("cannot be used as a certificate chain", refused.stderr)

    def test_unix_socket(self):
        path = self.folder / "sampan.sock"
        server = self.start("--unix-socket", path)
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        connection.connect(str(path))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertIn(b" 200 ", connection.makefile("rb").read())
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        server.terminate()
        self.assertEqual(server.wait(30), 0)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    unittest.main()
