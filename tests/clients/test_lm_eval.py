"""lm-eval's API backend against the server: its log-likelihoods are those of transformers (lm_eval_task/golden.json,
which tools/make_lm_eval_golden.py makes)."""

import json
import os
import pathlib
import shutil
import tempfile
import unittest

TASKS = pathlib.Path(__file__).resolve().parent / "lm_eval_task"
CACHE = tempfile.mkdtemp(prefix="sampan-lm-eval-")
os.environ.update(HF_HOME=CACHE, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
os.chdir(TASKS)  # the tasks name their documents beside them

import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from server import NANO, ROOT, Server  # noqa: E402

GOLDEN = json.loads((TASKS / "golden.json").read_text())
TOLERANCE = 1e-3


def tearDownModule():
    shutil.rmtree(CACHE, ignore_errors=True)


def with_tokenizer(name, folder):
    """A tiny checkpoint of tests/data under the tokenizer that the golden was made with."""
    for file in (ROOT / "tests/data/models" / name).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "tokenizer.json").symlink_to(TASKS / "tiny_tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "add_bos_token": False}))
    return folder


class LmEval(unittest.TestCase):
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)

    def evaluate(self, url, tasks, **more):
        arguments = {
            "model": "model",
            "base_url": f"{url}/v1/completions",
            "tokenizer_backend": "remote",
            "max_retries": 1,
            **more,
        }
        result = lm_eval.simple_evaluate(
            "local-completions", model_args=arguments, tasks=tasks, task_manager=self.manager, bootstrap_iters=0
        )
        self.assertEqual(set(result["results"]), set(tasks))
        samples = result["samples"]
        return {task: sorted(samples[task], key=lambda sample: sample["doc_id"]) for task in tasks}, result["results"]

    def check_choices(self, samples, golden):
        self.assertEqual(len(samples), len(golden["choices"]))
        for sample, expected in zip(samples, golden["choices"], strict=True):
            got = sample["filtered_resps"]
            self.assertEqual(len(got), len(expected))
            for (score, greedy), (expected_score, expected_greedy) in zip(got, expected, strict=True):
                self.assertAlmostEqual(score, expected_score, delta=TOLERANCE, msg=sample["doc"])
                self.assertEqual(greedy, expected_greedy, sample["doc"])

    def check_rolling(self, samples, golden):
        self.assertEqual(len(samples), len(golden["rolling"]))
        for sample, expected in zip(samples, golden["rolling"], strict=True):
            self.assertAlmostEqual(sample["filtered_resps"][0], expected, delta=TOLERANCE, msg=sample["doc"])

    def test_nano(self):
        golden = GOLDEN["nano"]
        tasks = ["sampan_choices", "sampan_rolling", "sampan_generate"]
        with Server(models=(f"model={NANO}",)) as server:
            samples, results = self.evaluate(server.url, tasks)
            best = [max(range(len(doc)), key=lambda i: doc[i][0]) for doc in golden["choices"]]
            answers = [json.loads(line)["answer"] for line in (TASKS / "choices.jsonl").read_text().splitlines()]
            accuracy = sum(a == b for a, b in zip(best, answers, strict=True)) / len(answers)
            self.assertAlmostEqual(results["sampan_choices"]["acc,none"], accuracy)
            self.check(samples, golden)
            with self.subTest("side by side, texts instead of ids"):
                samples, _ = self.evaluate(server.url, tasks, num_concurrent=8, batch_size=4, tokenized_requests=False)
                self.check(samples, golden)

    def check(self, samples, golden):
        self.check_choices(samples["sampan_choices"], golden)
        self.check_rolling(samples["sampan_rolling"], golden)
        if "generate" in golden:
            self.assertEqual([sample["filtered_resps"][0] for sample in samples["sampan_generate"]], golden["generate"])

    def test_tiny_checkpoints(self):
        for name, golden in GOLDEN.items():
            if name == "nano":
                continue
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                with Server(models=(f"model={with_tokenizer(name, pathlib.Path(folder))}",)) as server:
                    samples, _ = self.evaluate(
                        server.url, ["sampan_choices", "sampan_rolling"], max_length=512, batch_size=8
                    )
                    self.check(samples, golden)


if __name__ == "__main__":
    unittest.main(verbosity=2)
