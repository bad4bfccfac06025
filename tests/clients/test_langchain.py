"""LangChain's OpenAI integration against the server."""

import asyncio
import math
import unittest

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from server import ANSWER, MODEL, QUESTION, ServerTest


class LangChain(ServerTest):
    def setUp(self):
        self.access = {"base_url": f"{self.url}/v1", "api_key": "none", "model": MODEL, "max_retries": 0}
        self.chat = ChatOpenAI(**self.access, temperature=0)

    def test_invoke(self):
        message = self.chat.invoke(QUESTION)
        self.assertIsInstance(message, AIMessage)
        self.assertEqual(message.content, ANSWER)
        self.assertEqual(message.usage_metadata["input_tokens"], 19)
        self.assertEqual(message.usage_metadata["output_tokens"], 46)
        self.assertEqual(message.response_metadata["finish_reason"], "stop")

    def test_history(self):
        message = self.chat.invoke(
            [
                SystemMessage("You work for a shop."),
                HumanMessage(QUESTION),
                AIMessage(ANSWER),
                HumanMessage("who are you?"),
            ]
        )
        self.assertTrue(message.content)

    def test_stream(self):
        chunks = list(self.chat.stream(QUESTION, stream_usage=True))
        self.assertGreater(len(chunks), 10, "the answer came in one piece")
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        self.assertEqual(whole.content, ANSWER)
        self.assertEqual(whole.usage_metadata["output_tokens"], 46)

    def test_batch(self):
        self.assertEqual([message.content for message in self.chat.batch([QUESTION] * 6)], [ANSWER] * 6)

    def test_async(self):
        async def ask():
            streamed = [chunk.content async for chunk in self.chat.astream(QUESTION)]
            return (await self.chat.ainvoke(QUESTION)).content, "".join(streamed)

        self.assertEqual(asyncio.run(ask()), (ANSWER, ANSWER))

    def test_chain(self):
        prompt = ChatPromptTemplate.from_messages([("user", "Where is my order {number}?")])
        self.assertEqual((prompt | self.chat | StrOutputParser()).invoke({"number": 48213}), ANSWER)

    def test_binding(self):
        self.assertEqual(self.chat.bind(stop=["Please"]).invoke(QUESTION).content, ANSWER.split("Please")[0])
        scored = self.chat.bind(logprobs=True, max_tokens=3).invoke(QUESTION)
        self.assertEqual(len(scored.response_metadata["logprobs"]["content"]), 3)

    def test_completions(self):
        text = OpenAI(**self.access, temperature=0, max_tokens=8).invoke("One day, the little girl went to the")
        self.assertIn("park", text)

    def test_embeddings(self):
        # check_embedding_ctx_length would count with OpenAI's tokenizer and fetch it first.
        embeddings = OpenAIEmbeddings(**self.access, check_embedding_ctx_length=False)
        vectors = embeddings.embed_documents(["Where is my order?", "A girl played."])
        self.assertEqual([len(vector) for vector in vectors], [256, 256])
        self.assertTrue(math.isclose(sum(x * x for x in vectors[0]), 1, rel_tol=1e-5))
        self.assertEqual(embeddings.embed_query("A girl played."), vectors[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
