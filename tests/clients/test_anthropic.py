"""Anthropic's Python client, unmodified, against the server."""

import asyncio
import json
import pathlib
import shutil
import tempfile
import unittest

import anthropic
from server import ANSWER, MODEL, NANO, QUESTION, Server, ServerTest

ASK = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]}
GREEDY = {**ASK, "extra_body": {"temperature": 0}}  # the client's newer versions have no arguments for sampling


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def thinking_copy(folder):
    """nano under a template that opens a thought when thinking is on."""
    for file in NANO.iterdir():
        if file.name not in ("chat_template.jinja", "tokenizer_config.json"):
            (folder / file.name).symlink_to(file)
    template = (NANO / "chat_template.jinja").read_text()
    opening = "\n{%- if add_generation_prompt and enable_thinking %}{{- '<think>\\n' }}{%- endif %}"
    (folder / "chat_template.jinja").write_text(template + opening)
    config = json.loads((NANO / "tokenizer_config.json").read_text())
    config.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


class AnthropicTest(ServerTest):
    def setUp(self):
        self.client = anthropic.Anthropic(base_url=self.url, api_key="none", max_retries=0, timeout=60)
        self.addCleanup(self.client.close)
        self.create = self.client.messages.create


class Messages(AnthropicTest):
    def test_plain(self):
        message = self.create(**GREEDY)
        self.assertEqual((message.type, message.role, message.model), ("message", "assistant", MODEL))
        self.assertEqual([(block.type, block.text) for block in message.content], [("text", ANSWER)])
        self.assertEqual((message.stop_reason, message.stop_sequence), ("end_turn", None))
        self.assertEqual(message.usage.output_tokens, 46)
        self.assertEqual(message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0), 19)
        self.assertTrue(message._request_id)

    def test_stream(self):
        with self.client.messages.stream(**GREEDY) as stream:
            pieces = list(stream.text_stream)
            message = stream.get_final_message()
        self.assertEqual("".join(pieces), ANSWER)
        self.assertGreater(len(pieces), 10, "the answer came in one piece")
        self.assertEqual(text_of(message), ANSWER)
        self.assertEqual((message.stop_reason, message.usage.output_tokens), ("end_turn", 46))

    def test_events(self):
        kinds = [event.type for event in self.create(**GREEDY, stream=True) if event.type != "ping"]
        self.assertEqual(kinds[:2], ["message_start", "content_block_start"])
        self.assertEqual(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(set(kinds[2:-3]), {"content_block_delta"})

    def test_async_client(self):
        async def ask():
            async with anthropic.AsyncAnthropic(base_url=self.url, api_key="none", max_retries=0, timeout=60) as client:
                replies = await asyncio.gather(*(client.messages.create(**GREEDY) for _ in range(8)))
                async with client.messages.stream(**GREEDY) as stream:
                    streamed = "".join([text async for text in stream.text_stream])
                return [text_of(reply) for reply in replies], streamed

        self.assertEqual(asyncio.run(ask()), ([ANSWER] * 8, ANSWER))

    def test_max_tokens(self):
        message = self.create(**{**GREEDY, "max_tokens": 5})
        self.assertEqual((message.stop_reason, message.usage.output_tokens), ("max_tokens", 5))
        self.assertTrue(ANSWER.startswith(text_of(message)))

    def test_stop_sequences(self):
        stops = ["nowhere", "Please"]
        message = self.create(**GREEDY, stop_sequences=stops)
        self.assertEqual((message.stop_reason, message.stop_sequence), ("stop_sequence", "Please"))
        self.assertEqual(text_of(message), ANSWER.split("Please")[0])
        with self.client.messages.stream(**GREEDY, stop_sequences=stops) as stream:
            streamed = stream.get_final_message()
        self.assertEqual(
            (text_of(streamed), streamed.stop_reason, streamed.stop_sequence),
            (text_of(message), "stop_sequence", "Please"),
        )

    def test_system(self):
        count = self.client.messages.count_tokens
        plain = count(model=MODEL, messages=ASK["messages"]).input_tokens
        told = count(model=MODEL, messages=ASK["messages"], system="You work for a shop.").input_tokens
        blocks = [{"type": "text", "text": "You work for a shop.", "cache_control": {"type": "ephemeral"}}]
        self.assertEqual(plain, 19)
        self.assertGreater(told, plain)
        self.assertEqual(count(model=MODEL, messages=ASK["messages"], system=blocks).input_tokens, told)
        self.assertEqual(
            text_of(self.create(**GREEDY, system=blocks)), text_of(self.create(**GREEDY, system="You work for a shop."))
        )

    def test_count_is_what_is_read(self):
        messages = [
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": ANSWER},
            {"role": "user", "content": "And 7731?"},
        ]
        count = self.client.messages.count_tokens(model=MODEL, messages=messages).input_tokens
        usage = self.create(model=MODEL, max_tokens=3, messages=messages).usage
        self.assertEqual(usage.input_tokens + (usage.cache_read_input_tokens or 0), count)

    def test_the_answer_begun_by_the_client(self):
        begin, rest = ANSWER.split(" Please")
        messages = [*ASK["messages"], {"role": "assistant", "content": begin}]
        self.assertEqual(text_of(self.create(**{**GREEDY, "messages": messages})), " Please" + rest)

    def test_sampling(self):
        self.assertEqual(text_of(self.create(**ASK, extra_body={"temperature": 1, "top_k": 1})), ANSWER)

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual([(model.type, model.id) for model in models], [("model", MODEL)])
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)

    def test_tools(self):
        tools = [
            {
                "name": "weather",
                "description": "Tells it",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ]
        messages = [
            {"role": "user", "content": "What is the weather in Oslo?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]},
        ]
        count = self.client.messages.count_tokens
        self.assertGreater(
            count(model=MODEL, messages=messages, tools=tools).input_tokens,
            count(model=MODEL, messages=messages).input_tokens,
        )
        self.assertTrue(self.create(model=MODEL, max_tokens=8, messages=messages, tools=tools).content)


class Thinking(AnthropicTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.models = (f"{MODEL}={thinking_copy(pathlib.Path(folder))}",)
        super().setUpClass()

    def test_thinking(self):
        ask = {
            **ASK,
            "max_tokens": 1100,
            "extra_body": {"top_k": 1},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
        ask["stop_sequences"] = ["."]
        message = self.create(**ask)
        self.assertEqual(message.content[0].type, "thinking")
        self.assertTrue(message.content[0].thinking)
        self.assertIsInstance(message.content[0].signature, str)
        with self.client.messages.stream(**ask) as stream:
            kinds = {event.delta.type for event in stream if event.type == "content_block_delta"}
            streamed = stream.get_final_message()
        self.assertIn("thinking_delta", kinds)
        self.assertEqual(
            [block.model_dump() for block in streamed.content], [block.model_dump() for block in message.content]
        )

    def test_off(self):
        for thinking in ({}, {"thinking": {"type": "disabled"}}):
            self.assertEqual([block.type for block in self.create(**GREEDY, **thinking).content], ["text"])

    def test_thoughts_are_taken_back(self):
        thought = {"type": "thinking", "thinking": "An order.", "signature": "c2lnbmF0dXJl"}
        messages = [
            *ASK["messages"],
            {"role": "assistant", "content": [thought, {"type": "text", "text": ANSWER}]},
            {"role": "user", "content": "hi"},
        ]
        self.assertTrue(self.create(**{**ASK, "messages": messages, "max_tokens": 4}).content)


class Errors(AnthropicTest):
    def refused(self, kind, type_, says="", **more):
        with self.assertRaises(kind) as caught:
            self.create(**{**ASK, **more})
        error = caught.exception
        self.assertEqual(error.body["type"], "error")
        self.assertEqual(error.body["error"]["type"], type_)
        self.assertIn(says, error.body["error"]["message"])
        self.assertEqual(error.body["request_id"], error.request_id)

    def test_kinds(self):
        self.refused(anthropic.NotFoundError, "not_found_error", "claude-9", model="claude-9")
        bad = anthropic.BadRequestError
        self.refused(bad, "invalid_request_error", "temperature", extra_body={"temperature": 1.5})
        self.refused(bad, "invalid_request_error", "max_tokens", max_tokens=0)
        self.refused(
            bad,
            "invalid_request_error",
            "budget_tokens",
            thinking={"type": "enabled", "budget_tokens": 100},
            max_tokens=2000,
        )
        self.refused(bad, "invalid_request_error", "messages", messages=[])
        self.refused(
            bad, "invalid_request_error", "role", messages=[{"role": "wizard", "content": "x"}, *ASK["messages"]]
        )
        self.refused(
            bad,
            "invalid_request_error",
            "maximum context length",
            messages=[{"role": "user", "content": "word " * 3000}],
        )
        self.refused(anthropic.NotFoundError, "not_found_error", stream=True, model="claude-9")


class Keys(unittest.TestCase):
    def test_both_headers(self):
        with Server("--api-key", "sk-right") as server:
            for key in ({"api_key": "sk-right"}, {"auth_token": "sk-right"}):
                with anthropic.Anthropic(base_url=server.url, max_retries=0, **key) as client:
                    self.assertEqual(text_of(client.messages.create(**GREEDY)), ANSWER)
            with anthropic.Anthropic(base_url=server.url, api_key="sk-wrong", max_retries=0) as client:
                with self.assertRaises(anthropic.AuthenticationError) as caught:
                    client.messages.create(**GREEDY)
            self.assertEqual(caught.exception.body["error"]["type"], "authentication_error")


if __name__ == "__main__":
    unittest.main(verbosity=2)
