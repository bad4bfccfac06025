"""OpenAI's client for Node: openai_node.mjs against a server."""

import pathlib
import subprocess
import unittest

from server import ANSWER, CLIENTS, MODEL, QUESTION, ServerTest


class Node(ServerTest):
    def test_all(self):
        script = pathlib.Path(__file__).with_name("openai_node.mjs")
        result = subprocess.run(
            ["node", script, self.url, CLIENTS, MODEL, QUESTION, ANSWER], capture_output=True, text=True, timeout=120
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(result.stdout.count("ok "), 9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
