// OpenAI's client for Node, unmodified, against a server: node openai_node.mjs URL FOLDER_WITH_NODE_MODULES MODEL QUESTION ANSWER

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [url, folder, model, question, answer] = process.argv.slice(2);
const OpenAI = createRequire(path.join(path.resolve(folder), "package.json"))("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const greedy = { model, temperature: 0, messages: [{ role: "user", content: question }] };

async function chat() {
  const reply = await client.chat.completions.create(greedy);
  assert.equal(reply.choices[0].message.content, answer);
  assert.equal(reply.choices[0].finish_reason, "stop");
  assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
}

async function stream() {
  const stream = await client.chat.completions.create({ ...greedy, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let chunks = 0;
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    ++chunks;
  }
  assert.equal(text, answer);
  assert.ok(chunks > 10, "the answer came in one piece");
  assert.ok(usage.completion_tokens > 10);
}

async function streamHelper() {
  const stream = client.chat.completions.stream(greedy);
  let text = "";
  stream.on("content", (piece) => (text += piece));
  assert.equal((await stream.finalChatCompletion()).choices[0].message.content, answer);
  assert.equal(text, answer);
}

async function leftStream() {
  const stream = await client.chat.completions.create({ ...greedy, stream: true, ignore_eos: true, max_tokens: 1000 });
  for await (const _ of stream) break;
  await chat();
}

async function completions() {
  const reply = await client.completions.create({ model, prompt: ["One day,", "The dog"], max_tokens: 4, temperature: 0, echo: true, logprobs: 1 });
  assert.deepEqual(reply.choices.map((choice) => choice.index), [0, 1]);
  assert.ok(reply.choices[0].text.startsWith("One day,"));
  assert.equal(reply.choices[0].logprobs.token_logprobs[0], null);
}

async function embeddings() {
  const input = ["Where is my order?", "A girl played."];
  const packed = await client.embeddings.create({ model, input });
  const plain = await client.embeddings.create({ model, input, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  packed.data.forEach((entry, i) => {
    assert.equal(entry.embedding.length, 256);
    entry.embedding.forEach((value, j) => assert.ok(Math.abs(value - plain.data[i].embedding[j]) < 1e-6));
  });
}

async function models() {
  const names = [];
  for await (const entry of client.models.list()) names.push(entry.id);
  assert.deepEqual(names, [model]);
  assert.equal((await client.models.retrieve(model)).id, model);
}

async function errors() {
  await assert.rejects(client.chat.completions.create({ ...greedy, model: "gpt-9" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...greedy, temperature: 3 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
}

async function headers() {
  const { data, response, request_id } = await client.chat.completions.create(greedy).withResponse();
  assert.equal(data.choices[0].message.content, answer);
  assert.equal(request_id, response.headers.get("x-request-id"));
}

for (const test of [chat, stream, streamHelper, leftStream, completions, embeddings, models, errors, headers]) {
  await test();
  console.log(`ok ${test.name}`);
}
