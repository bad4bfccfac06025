"""Ollama's Python client, unmodified, against the server."""

import asyncio
import math
import unittest

import ollama
from server import ANSWER, MODEL, NANO, QUESTION, ServerTest

MESSAGES = [{"role": "user", "content": QUESTION}]
GREEDY = {"temperature": 0}


class OllamaTest(ServerTest):
    def setUp(self):
        self.client = ollama.Client(host=self.url, timeout=60)


class Models(OllamaTest):
    models = (NANO, f"second={NANO}")

    def test_list(self):
        models = self.client.list().models
        names = [model.model.removesuffix(":latest") for model in models]
        self.assertEqual(names, [MODEL, "second"])
        self.assertGreater(models[0].size, 1_000_000)
        self.assertRegex(models[0].digest, "^[0-9a-f]{64}$")
        self.assertNotEqual(models[0].digest, models[1].digest)
        self.assertIsNotNone(models[0].modified_at)
        self.assertEqual(models[0].details.family, "qwen3")

    def test_names_with_a_tag(self):
        for name in (MODEL, f"{MODEL}:latest"):
            self.assertEqual(self.client.generate(name, "hi", options={**GREEDY, "num_predict": 1}).eval_count, 1)

    def test_show(self):
        shown = self.client.show(MODEL)
        self.assertIn("<|im_start|>", shown.template)
        self.assertEqual(shown.details.family, "qwen3")
        self.assertIn("completion", shown.capabilities)
        self.assertEqual(shown.modelinfo["general.architecture"], "qwen3")
        self.assertEqual(shown.modelinfo["qwen3.context_length"], 2048)
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.show("third")
        self.assertEqual(caught.exception.status_code, 404)

    def running(self):
        return [model.model.removesuffix(":latest") for model in self.client.ps().models]

    def test_keep_alive(self):
        loaded = self.client.generate("second", "", keep_alive="10m")  # no prompt: loads
        self.assertEqual((loaded.done, loaded.response), (True, ""))
        self.assertIn("second", self.running())
        (model,) = (model for model in self.client.ps().models if model.model.startswith("second"))
        self.assertIsNotNone(model.expires_at)
        self.assertGreater(model.size, 1_000_000)
        self.client.generate("second", "", keep_alive=0)
        self.assertNotIn("second", self.running())
        self.assertEqual(self.client.chat("second", MESSAGES, options=GREEDY, keep_alive=-1).message.content, ANSWER)
        self.assertIn("second", self.running())


class Answers(OllamaTest):
    def check_end(self, last, count, reason="stop"):
        self.assertEqual((last.done, last.done_reason), (True, reason))
        self.assertEqual(last.eval_count, count)
        self.assertGreater(last.prompt_eval_count, 0)
        for name in ("total_duration", "eval_duration", "prompt_eval_duration"):
            self.assertGreater(getattr(last, name), 0, name)
        self.assertGreaterEqual(last.total_duration, last.eval_duration)

    def test_chat(self):
        reply = self.client.chat(MODEL, MESSAGES, options=GREEDY)
        self.assertEqual((reply.model, reply.message.role, reply.message.content), (MODEL, "assistant", ANSWER))
        self.assertTrue(reply.created_at)
        self.check_end(reply, 46)
        self.assertEqual(reply.prompt_eval_count, 19)

    def test_chat_streamed(self):
        parts = list(self.client.chat(MODEL, MESSAGES, options=GREEDY, stream=True))
        self.assertEqual("".join(part.message.content for part in parts), ANSWER)
        self.assertGreater(len(parts), 10, "the answer came in one piece")
        self.assertFalse(any(part.done for part in parts[:-1]))
        self.check_end(parts[-1], 46)

    def test_async_client(self):
        async def ask():
            client = ollama.AsyncClient(host=self.url, timeout=60)
            replies = await asyncio.gather(*(client.chat(MODEL, MESSAGES, options=GREEDY) for _ in range(8)))
            streamed = [
                part.message.content async for part in await client.chat(MODEL, MESSAGES, options=GREEDY, stream=True)
            ]
            return [reply.message.content for reply in replies], "".join(streamed)

        self.assertEqual(asyncio.run(ask()), ([ANSWER] * 8, ANSWER))

    def test_generate(self):
        reply = self.client.generate(MODEL, QUESTION, options=GREEDY)
        self.assertEqual(reply.response, ANSWER)
        self.check_end(reply, 46)
        parts = list(self.client.generate(MODEL, QUESTION, options=GREEDY, stream=True))
        self.assertEqual("".join(part.response for part in parts), ANSWER)
        self.check_end(parts[-1], 46)

    def test_generate_raw(self):
        prompt = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(self.client.generate(MODEL, prompt, raw=True, options=GREEDY).response, ANSWER)

    def test_system(self):
        told = self.client.generate(MODEL, QUESTION, system="You work for a shop.", options=GREEDY)
        messages = [{"role": "system", "content": "You work for a shop."}, *MESSAGES]
        chat = self.client.chat(MODEL, messages, options=GREEDY)
        self.assertEqual((told.response, told.prompt_eval_count), (chat.message.content, chat.prompt_eval_count))
        self.assertGreater(chat.prompt_eval_count, 19)

    def test_options(self):
        short = self.client.chat(MODEL, MESSAGES, options={**GREEDY, "num_predict": 5})
        self.check_end(short, 5, "length")
        self.assertTrue(ANSWER.startswith(short.message.content))
        stopped = self.client.chat(MODEL, MESSAGES, options={**GREEDY, "stop": ["Please"]})
        self.assertEqual((stopped.message.content, stopped.done_reason), (ANSWER.split("Please")[0], "stop"))
        self.assertEqual(
            self.client.chat(MODEL, MESSAGES, options={"temperature": 2, "top_k": 1}).message.content, ANSWER
        )

        def sampled(seed):
            options = {"temperature": 1.5, "top_p": 1, "seed": seed, "num_predict": 24}
            return self.client.generate(MODEL, "Tell me a story about a dog.", options=options).response

        self.assertEqual(sampled(7), sampled(7))
        self.assertGreater(len({sampled(seed) for seed in range(4)}), 1)

    def test_tool_messages_need_no_id(self):
        messages = [
            {"role": "user", "content": "What is the weather in Oslo?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
            },
            {"role": "tool", "tool_name": "weather", "content": "rain"},
        ]
        self.assertGreater(
            self.client.chat(MODEL, messages, options={**GREEDY, "num_predict": 4}).prompt_eval_count, 20
        )

    def test_errors(self):
        for call, status in (
            (lambda: self.client.chat("third", MESSAGES), 404),
            (lambda: self.client.generate("third", "hi"), 404),
            (lambda: list(self.client.chat("third", MESSAGES, stream=True)), 404),
            (lambda: self.client.chat(MODEL, MESSAGES, options={"temperature": "hot"}), 400),
        ):
            with self.assertRaises(ollama.ResponseError) as caught:
                call()
            self.assertEqual(caught.exception.status_code, status)
            self.assertTrue(caught.exception.error)


class Embeddings(OllamaTest):
    def test_embed(self):
        both = self.client.embed(MODEL, ["Where is my order?", "A girl played."])
        self.assertEqual([len(vector) for vector in both.embeddings], [256, 256])
        for vector in both.embeddings:
            self.assertTrue(math.isclose(sum(x * x for x in vector), 1, rel_tol=1e-5))
        self.assertGreater(both.prompt_eval_count, 0)
        self.assertEqual(self.client.embed(MODEL, "A girl played.").embeddings, both.embeddings[1:])
        self.assertEqual(len(self.client.embed(MODEL, "A girl played.", dimensions=32).embeddings[0]), 32)

    def test_older_route(self):
        self.assertEqual(len(self.client.embeddings(MODEL, "A girl played.").embedding), 256)


if __name__ == "__main__":
    unittest.main(verbosity=2)
