"""OpenAI's Python client, unmodified, against the server."""

import asyncio
import math
import unittest

import openai
from server import ANSWER, MODEL, NANO, QUESTION, Server, ServerTest

ASK = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
GREEDY = {**ASK, "temperature": 0}
SAMPLED = {  # a question with many answers
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a story about a dog."}],
    "temperature": 1.5,
    "top_p": 1,
    "max_tokens": 24,
}
PROMPT = "One day, the little girl went to the"


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


class OpenAiTest(ServerTest):
    models = (NANO, f"second={NANO}")

    def setUp(self):
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)
        self.addCleanup(self.client.close)
        self.chat = self.client.chat.completions.create
        self.complete = self.client.completions.create

    def tokenize(self, **body):
        return self.client.post("../tokenize", body=body, cast_to=dict)["tokens"]


class Chat(OpenAiTest):
    def test_plain(self):
        reply = self.chat(**GREEDY)
        self.assertEqual(reply.object, "chat.completion")
        self.assertEqual(reply.model, MODEL)
        self.assertEqual([choice.index for choice in reply.choices], [0])
        message = reply.choices[0].message
        self.assertEqual(
            (message.role, message.content, message.refusal, message.tool_calls), ("assistant", ANSWER, None, None)
        )
        self.assertEqual(reply.choices[0].finish_reason, "stop")
        self.assertEqual(
            (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens), (19, 46, 65)
        )

    def test_streamed_is_plain(self):
        chunks = list(self.chat(**GREEDY, stream=True))
        self.assertEqual(text_of(chunks), ANSWER)
        self.assertEqual({chunk.object for chunk in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1], "stop")
        self.assertGreater(len(chunks), 10, "the answer came in one piece")
        self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_usage_in_streams(self):
        chunks = list(self.chat(**GREEDY, stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        usage = self.chat(**GREEDY).usage
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            self.assertEqual(getattr(chunks[-1].usage, name), getattr(usage, name))
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))

    def test_stream_helper(self):
        with self.client.chat.completions.stream(**GREEDY) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
            completion = stream.get_final_completion()
        self.assertEqual(text, ANSWER)
        self.assertEqual(completion.choices[0].message.content, ANSWER)

    def test_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(
                base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60
            ) as client:
                create = client.chat.completions.create
                plain = [create(**GREEDY) for _ in range(8)]
                stream = await create(**GREEDY, stream=True)
                streamed = text_of([chunk async for chunk in stream])
                return [reply.choices[0].message.content for reply in await asyncio.gather(*plain)], streamed

        plain, streamed = asyncio.run(ask())
        self.assertEqual(plain, [ANSWER] * 8)
        self.assertEqual(streamed, ANSWER)

    def test_a_stream_that_is_left(self):
        stream = self.chat(**{**ASK, "max_tokens": 1000, "extra_body": {"ignore_eos": True}}, stream=True)
        next(iter(stream))
        stream.close()
        self.assertEqual(self.chat(**GREEDY).choices[0].message.content, ANSWER)

    def test_system_and_history(self):
        history = [
            {"role": "system", "content": "You work for a shop."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": ANSWER},
            {"role": "user", "content": "who are you?"},
        ]
        reply = self.chat(model=MODEL, messages=history, temperature=0)
        self.assertEqual(reply.usage.prompt_tokens, len(self.tokenize(messages=history, model=MODEL)))
        developer = [{"role": "developer", "content": "You work for a shop."}, *history[1:]]
        self.assertEqual(
            self.chat(model=MODEL, messages=developer, temperature=0).choices[0].message.content,
            reply.choices[0].message.content,
        )

    def test_max_tokens(self):
        for name in ("max_tokens", "max_completion_tokens"):
            reply = self.chat(**GREEDY, **{name: 5})
            self.assertEqual(reply.choices[0].finish_reason, "length")
            self.assertEqual(reply.usage.completion_tokens, 5)
            self.assertTrue(ANSWER.startswith(reply.choices[0].message.content))

    def test_stop(self):
        for stop in ("Please", [" nowhere", "Please"]):
            reply = self.chat(**GREEDY, stop=stop)
            self.assertEqual(reply.choices[0].message.content, ANSWER.split("Please")[0])
            self.assertEqual(reply.choices[0].finish_reason, "stop")
            self.assertEqual(text_of(self.chat(**GREEDY, stop=stop, stream=True)), ANSWER.split("Please")[0])

    def test_seed(self):
        def answer(seed):
            return self.chat(**SAMPLED, seed=seed).choices[0].message.content

        first = answer(7)
        self.assertEqual(answer(7), first)
        self.assertGreater(len({answer(seed) for seed in range(4)}), 1)
        streamed = self.chat(**SAMPLED, seed=7, stream=True)
        self.assertEqual(text_of(streamed), first)

    def test_n(self):
        ask = {**SAMPLED, "seed": 3}
        reply = self.chat(**ask, n=3)
        texts = [choice.message.content for choice in reply.choices]
        self.assertEqual([choice.index for choice in reply.choices], [0, 1, 2])
        self.assertEqual(texts[0], self.chat(**ask).choices[0].message.content)
        self.assertGreater(len(set(texts)), 1)
        self.assertEqual(reply.usage.prompt_tokens, self.chat(**ask).usage.prompt_tokens)
        streamed = ["", "", ""]
        for chunk in self.chat(**ask, n=3, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        self.assertEqual(streamed, texts)

    def test_logprobs(self):
        ask = {**GREEDY, "max_tokens": 10, "logprobs": True, "top_logprobs": 3}
        choice = self.chat(**ask).choices[0]
        content = choice.logprobs.content
        self.assertEqual(len(content), 10)
        self.assertEqual(b"".join(bytes(entry.bytes) for entry in content).decode(), choice.message.content)
        for entry in content:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(len(entry.top_logprobs), 3)
            self.assertEqual(entry.top_logprobs[0].token, entry.token, "greedy takes the likeliest")
            self.assertEqual(entry.top_logprobs[0].logprob, entry.logprob)
            values = [top.logprob for top in entry.top_logprobs]
            self.assertEqual(values, sorted(values, reverse=True))
        streamed = [
            entry
            for chunk in self.chat(**ask, stream=True)
            for c in chunk.choices
            if c.logprobs
            for entry in c.logprobs.content
        ]
        self.assertEqual(streamed, content)
        warm = {**ask, "temperature": 2, "seed": 5, "extra_body": {"top_k": 1}}
        self.assertEqual(
            self.chat(**warm).choices[0].logprobs.content, content, "logprobs are of the model's own distribution"
        )
        self.assertIsNone(self.chat(**GREEDY, max_tokens=2).choices[0].logprobs)

    def test_logit_bias(self):
        (dot,) = self.tokenize(prompt=".", model=MODEL)
        reply = self.chat(**GREEDY, max_tokens=4, logit_bias={str(dot): 100}, logprobs=True)
        self.assertEqual(reply.choices[0].message.content, "....")
        (first,) = self.tokenize(prompt="I", model=MODEL)
        banned = self.chat(**GREEDY, max_tokens=4, logit_bias={str(first): -100})
        self.assertFalse(banned.choices[0].message.content.startswith("I"))
        with self.assertRaisesRegex(openai.BadRequestError, "not in the vocabulary"):
            self.chat(**GREEDY, max_tokens=4, logit_bias={"1000000": 1})

    def test_tools_are_shown_to_the_model(self):
        weather = {
            "name": "weather",
            "description": "Tells the weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
        tools = [{"type": "function", "function": weather}]
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
        messages = [
            {"role": "user", "content": "What is the weather in Oslo?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ]
        reply = self.chat(model=MODEL, messages=messages, tools=tools, temperature=0, max_tokens=8)
        self.assertEqual(reply.usage.prompt_tokens, len(self.tokenize(messages=messages, tools=tools, model=MODEL)))
        self.assertGreater(reply.usage.prompt_tokens, len(self.tokenize(messages=messages, model=MODEL)))

    def test_fields_of_vllm(self):
        greedy = self.chat(**ASK, temperature=2, seed=1, extra_body={"top_k": 1})
        self.assertEqual(greedy.choices[0].message.content, ANSWER)
        self.assertEqual(
            self.chat(**ASK, temperature=2, seed=1, extra_body={"min_p": 1.0}).choices[0].message.content, ANSWER
        )
        on = self.chat(**GREEDY, max_tokens=60, extra_body={"ignore_eos": True})
        self.assertEqual((on.usage.completion_tokens, on.choices[0].finish_reason), (60, "length"))
        longer = self.chat(**GREEDY, max_tokens=60, extra_body={"min_tokens": 50})
        self.assertGreaterEqual(longer.usage.completion_tokens, 50)
        ids = self.chat(**GREEDY, extra_body={"return_token_ids": True})
        self.assertEqual(ids.prompt_token_ids, self.tokenize(messages=ASK["messages"], model=MODEL))
        token_ids = ids.choices[0].token_ids
        self.assertEqual(len(token_ids), ids.usage.completion_tokens)
        stopped = self.chat(**GREEDY, extra_body={"stop_token_ids": [token_ids[4]]})
        self.assertEqual(stopped.usage.completion_tokens, token_ids.index(token_ids[4]) + 1)
        self.assertEqual(stopped.choices[0].stop_reason, token_ids[4])
        penalised = self.chat(**GREEDY, max_tokens=40, extra_body={"repetition_penalty": 1.5})
        self.assertNotEqual(penalised.choices[0].message.content, ANSWER)

    def test_continue_final_message(self):
        begin, rest = ANSWER.split(" Please")
        messages = [*ASK["messages"], {"role": "assistant", "content": begin}]
        flags = {"add_generation_prompt": False, "continue_final_message": True}
        reply = self.chat(model=MODEL, messages=messages, temperature=0, extra_body=flags)
        self.assertEqual(reply.choices[0].message.content, " Please" + rest)

    def test_raw_response(self):
        raw = self.client.chat.completions.with_raw_response.create(
            **GREEDY, extra_body={"made_up": 1}, extra_headers={"x-request-id": "mine-17"}
        )
        self.assertEqual(raw.headers["content-type"], "application/json")
        self.assertEqual(raw.headers["x-request-id"], "mine-17")
        self.assertRegex(raw.headers["openai-processing-ms"], r"^\d+$")
        self.assertEqual(raw.headers["x-sampan-ignored"], "made_up")
        self.assertEqual(raw.parse().choices[0].message.content, ANSWER)
        self.assertTrue(self.chat(**GREEDY)._request_id)


class Models(OpenAiTest):
    def test_list_and_retrieve(self):
        models = self.client.models.list().data
        self.assertEqual([model.id for model in models], [MODEL, "second"])
        self.assertEqual({model.object for model in models}, {"model"})
        model = self.client.models.retrieve("second")
        self.assertEqual((model.id, model.object), ("second", "model"))
        self.assertGreater(model.created, 1_000_000_000)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("third")

    def test_both_answer(self):
        self.assertEqual(self.chat(**{**GREEDY, "model": "second"}).choices[0].message.content, ANSWER)


class Completions(OpenAiTest):
    def test_plain_and_streamed(self):
        ask = {"model": MODEL, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
        reply = self.complete(**ask)
        self.assertEqual(reply.object, "text_completion")
        self.assertEqual((reply.choices[0].finish_reason, reply.usage.completion_tokens), ("length", 12))
        chunks = list(self.complete(**ask, stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(choice.text for chunk in chunks for choice in chunk.choices), reply.choices[0].text)
        self.assertEqual(chunks[-1].usage.total_tokens, reply.usage.total_tokens)
        self.assertEqual(self.complete(model=MODEL, prompt=PROMPT, temperature=0).usage.completion_tokens, 16)

    def test_echo_and_logprobs(self):
        ask = {"model": MODEL, "prompt": PROMPT, "max_tokens": 4, "temperature": 0, "echo": True, "logprobs": 2}
        choice = self.complete(**ask).choices[0]
        self.assertTrue(choice.text.startswith(PROMPT))
        logprobs = choice.logprobs
        count = len(self.tokenize(prompt=PROMPT, model=MODEL)) + 4
        self.assertEqual(
            {len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs), len(logprobs.text_offset)},
            {count},
        )
        self.assertEqual("".join(logprobs.tokens), choice.text)
        self.assertIsNone(logprobs.token_logprobs[0])
        self.assertTrue(all(value <= 0 for value in logprobs.token_logprobs[1:]))
        for offset, token in zip(logprobs.text_offset, logprobs.tokens, strict=True):
            self.assertEqual(choice.text[offset : offset + len(token)], token)
        for token, value, top in list(
            zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True)
        )[1:]:
            self.assertEqual(top[token], value)
            self.assertIn(len(top), (2, 3))
        streamed = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        text = ""
        for chunk in self.complete(**ask, stream=True):
            for part in chunk.choices:
                text += part.text
                for name in streamed if part.logprobs else ():
                    streamed[name] += getattr(part.logprobs, name)
        self.assertEqual(text, choice.text)
        self.assertEqual(streamed, {name: getattr(logprobs, name) for name in streamed})
        scored = self.complete(**{**ask, "max_tokens": 0}).choices[0]
        self.assertEqual(scored.text, PROMPT)
        self.assertEqual(scored.logprobs.token_logprobs, logprobs.token_logprobs[:-4])

    def test_lists_of_prompts(self):
        texts = [PROMPT, "The dog", "She saw a big,"]
        ask = {"model": MODEL, "max_tokens": 6, "temperature": 0}
        alone = [self.complete(**ask, prompt=text).choices[0].text for text in texts]
        ids = [self.tokenize(prompt=text, model=MODEL) for text in texts]
        for prompts in (texts, ids):
            reply = self.complete(**ask, prompt=prompts)
            self.assertEqual([choice.index for choice in reply.choices], [0, 1, 2])
            self.assertEqual([choice.text for choice in reply.choices], alone)
            self.assertEqual(reply.usage.prompt_tokens, sum(map(len, ids)))
        self.assertEqual(self.complete(**ask, prompt=ids[0]).choices[0].text, alone[0])
        two = self.complete(**ask, prompt=texts, n=2)
        self.assertEqual([choice.text for choice in two.choices], [text for text in alone for _ in range(2)])
        streamed = [""] * 3
        for chunk in self.complete(**ask, prompt=texts, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.text
        self.assertEqual(streamed, alone)


class Embeddings(OpenAiTest):
    def embed(self, texts, **more):
        return [entry.embedding for entry in self.client.embeddings.create(model=MODEL, input=texts, **more).data]

    def test_forms_agree(self):
        texts = ["Where is my order?", "A girl played in the park."]
        packed = self.embed(texts)  # the client asks for base64
        plain = self.embed(texts, encoding_format="float")
        self.assertEqual([len(vector) for vector in packed], [256, 256])
        for a, b in zip(packed, plain, strict=True):
            self.assertTrue(all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9) for x, y in zip(a, b, strict=True)))
            self.assertAlmostEqual(sum(x * x for x in a), 1, places=5)
        self.assertEqual(self.embed(texts[1]), packed[1:])
        self.assertEqual(self.embed(self.tokenize(prompt=texts[0], model=MODEL)), packed[:1])
        self.assertNotEqual(packed[0], packed[1])

    def test_dimensions(self):
        (whole,) = self.embed("Where is my order?")
        (cut,) = self.embed("Where is my order?", dimensions=32)
        norm = math.sqrt(sum(x * x for x in whole[:32]))
        self.assertTrue(
            all(math.isclose(x, y / norm, rel_tol=1e-5, abs_tol=1e-7) for x, y in zip(cut, whole[:32], strict=True))
        )
        with self.assertRaises(openai.BadRequestError) as caught:
            self.embed("text", dimensions=257)
        self.assertEqual(caught.exception.param, "dimensions")

    def test_usage(self):
        reply = self.client.embeddings.create(model=MODEL, input=["one", "two words"])
        self.assertEqual([entry.index for entry in reply.data], [0, 1])
        self.assertEqual(
            reply.usage.total_tokens, sum(len(self.tokenize(prompt=text, model=MODEL)) for text in ("one", "two words"))
        )


class Errors(OpenAiTest):
    def refused(self, kind, call, *, param=None, code=None, says=""):
        with self.assertRaises(kind) as caught:
            call()
        error = caught.exception
        self.assertEqual((error.param, error.code), (param, code), error)
        self.assertIn(says, str(error))
        self.assertEqual(set(error.body), {"message", "type", "param", "code"})
        self.assertTrue(error.request_id)

    def test_unknown_model(self):
        self.refused(
            openai.NotFoundError,
            lambda: self.chat(**{**ASK, "model": "gpt-9"}),
            param="model",
            code="model_not_found",
            says="gpt-9",
        )
        stream = {**ASK, "model": "gpt-9", "stream": True}
        self.refused(openai.NotFoundError, lambda: self.chat(**stream), param="model", code="model_not_found")

    def test_out_of_range(self):
        cases = (
            {"temperature": 2.5},
            {"top_p": -0.1},
            {"n": 0},
            {"top_logprobs": 21, "logprobs": True},
            {"frequency_penalty": 3},
            {"stop": ["a", "b", "c", "d", "e"]},
            {"max_tokens": 0},
            {"temperature": "hot"},
            {"logit_bias": {"7": 101}},
        )
        for given in cases:
            with self.subTest(given), self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**ASK, **given)
            self.assertEqual(caught.exception.param, next(iter(given)))
            self.assertTrue(caught.exception.code, given)

    def test_refused_by_name(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.complete(model=MODEL, prompt="a", suffix="b")
        self.assertEqual(caught.exception.param, "suffix")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(**ASK, functions=[{"name": "f", "parameters": {}}])
        self.assertEqual(caught.exception.param, "functions")

    def test_context(self):
        long = {"model": MODEL, "messages": [{"role": "user", "content": "word " * 3000}]}
        says = "This model's maximum context length is 2048 tokens. However, "
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(**long)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        self.assertIn(says, str(caught.exception))
        self.assertEqual(self.chat(**GREEDY, max_tokens=5000).choices[0].message.content, ANSWER, "max_tokens is cut")

    def test_no_messages(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(model=MODEL, messages=[])
        self.assertEqual(caught.exception.param, "messages")

    def test_unknown_route(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.post("/made/up", body={}, cast_to=dict)


class Keys(unittest.TestCase):
    def test_keys(self):
        with Server("--api-key", "sk-right") as server:
            for key, error in (("sk-right", None), ("sk-wrong", openai.AuthenticationError)):
                with (
                    self.subTest(key),
                    openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client,
                ):
                    if error is None:
                        self.assertEqual(client.chat.completions.create(**GREEDY).choices[0].message.content, ANSWER)
                        continue
                    for call in (lambda: client.chat.completions.create(**GREEDY), client.models.list):
                        with self.assertRaises(error) as caught:
                            call()
                        self.assertEqual(caught.exception.code, "invalid_api_key")


if __name__ == "__main__":
    unittest.main(verbosity=2)
