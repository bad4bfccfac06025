"""What the command-line tests share: the program under test and small helpers. Standard library only."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPAN = os.environ.get("SAMPAN", str(ROOT / "build/dev/apps/sampan/sampan"))
MODELS = ROOT / "tests/data/models"
NANO = ROOT / "models/nano"


def run(*arguments, stdin=None, env=None, timeout=120):
    """Runs the program; returns the completed process with text output."""
    return subprocess.run(
        [SAMPAN, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def ok(self, *arguments, **options):
        """Runs the program, which must succeed silently on stderr's error line; returns its standard output."""
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, **options))

    def refused(self, *arguments, says, **options):
        """Runs the program, which must exit with 2 and one line that contains `says`."""
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, 2, (result.stdout, result.stderr))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("sampan: "), result.stderr)
        self.assertIn(says, result.stderr)
        return result
