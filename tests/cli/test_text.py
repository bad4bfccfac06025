"""tokenize, detokenize, render."""

import json
import unittest

from support import NANO, CliTest


class Tokenize(CliTest):
    def test_text_file_lines_and_stdin_agree(self):
        text = "Where is my order 48213?\n"
        (self.folder / "text").write_text(text)
        (self.folder / "lines").write_text(json.dumps(text) + "\n")
        ids = self.json("tokenize", "nano", text)
        self.assertEqual(self.json("tokenize", "nano", "--file", self.folder / "text"), ids)
        self.assertEqual(self.json("tokenize", "nano", "--lines", self.folder / "lines"), ids)
        self.assertEqual(self.json("tokenize", "nano", stdin=text), ids)

    def test_special_tokens_are_parsed_unless_told_not_to(self):
        text = "<|im_start|>user\n<think><tool_call>"
        parsed = self.json("tokenize", "nano", text)
        self.assertIn(4088, parsed)
        self.assertIn(4090, parsed)
        plain = self.json("tokenize", "nano", text, "--no-special")
        self.assertTrue(all(i < 4087 for i in plain), plain)
        for ids in (parsed, plain):
            self.assertEqual(self.ok("detokenize", "nano", json.dumps(ids)), text)

    def test_lines_one_answer_each(self):
        texts = ["", "a", "naïve 漢字 😀", "\ud800 alone", "\u0000 zero"]
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        answers = self.ok("tokenize", "nano", "--lines", "-", stdin=lines).splitlines()
        self.assertEqual(len(answers), len(texts))
        back = self.ok("detokenize", "nano", "--lines", "-", stdin="\n".join(answers) + "\n").splitlines()
        expected = [text.replace("\ud800", "\ufffd") for text in texts]
        self.assertEqual([json.loads(line) for line in back], expected)

    def test_skip_special(self):
        self.assertEqual(self.ok("detokenize", "nano", "[4088,40,4089]", "--skip-special"), "I")

    def test_golden_prompts(self):
        for item in json.loads((NANO / "golden.json").read_text()):
            self.assertEqual(self.json("tokenize", "nano", item["prompt"]), item["prompt_ids"])

    def test_bad_lines(self):
        self.refused("tokenize", "nano", "--lines", "-", stdin='"good"\nbad\n', says="line 2: not valid JSON")
        self.refused("tokenize", "nano", "--lines", "-", stdin="[1]\n", says="line 1: not a JSON string")
        self.refused("detokenize", "nano", "--lines", "-", stdin='["a"]\n', says="is not a token id")


class Render(CliTest):
    messages = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Hi <|im_end|>"},
    ]

    def file(self, request):
        path = self.folder / "request.json"
        path.write_text(json.dumps(request))
        return path

    def test_messages_and_variables(self):
        path = self.file({"messages": self.messages})
        prompt = "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n"
        self.assertEqual(self.ok("render", "nano", "--messages", path), prompt)
        self.assertEqual(
            self.ok("render", "nano", "--messages", path, "--set", "add_generation_prompt=true"),
            prompt + "<|im_start|>assistant\n",
        )

    def test_tools(self):
        tools = [{"type": "function", "function": {"name": "order_status", "parameters": {"type": "object"}}}]
        prompt = self.ok("render", "nano", "--messages", self.file({"messages": self.messages, "tools": tools}))
        self.assertIn(json.dumps(tools[0]), prompt)

    def test_lines(self):
        good = {"messages": self.messages, "variables": {"add_generation_prompt": True}}
        lines = [good, {"messages": "no list"}, {"tools": []}]
        answers = self.ok("render", "nano", "--lines", "-", stdin="".join(json.dumps(x) + "\n" for x in lines) + "{\n")
        answers = [json.loads(line) for line in answers.splitlines()]
        self.assertTrue(answers[0].endswith("<|im_start|>assistant\n"))
        for answer in answers[1:]:
            self.assertEqual(list(answer), ["error"])
        self.assertEqual(len(answers), 4)

    def test_refusals(self):
        self.refused("render", "nano", "--messages", self.folder / "none", says="No such file")
        self.refused("render", "nano", "--messages", self.file([]), says="not a JSON object")
        self.refused("render", "nano", says="--messages FILE or --lines FILE")
        path = self.file({"messages": self.messages})
        self.refused("render", "nano", "--messages", path, "--set", "novalue", says="not NAME=VALUE")


if __name__ == "__main__":
    unittest.main()
