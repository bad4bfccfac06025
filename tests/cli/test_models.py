"""logits, generate, perplexity, quantize, show, bench, run: the program on real files."""

import array
import functools
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from support import MODELS, NANO, SAMPAN, CliTest, run


def ids_text(ids):
    return ",".join(map(str, ids))


def cpu_flags():
    with open("/proc/cpuinfo") as file:
        return set(re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE).group(1).split())


def supported_isas():
    flags = cpu_flags()
    named = {"avx2": "avx2", "avxvnni": "avx_vnni", "avx512": "avx512_vnni"}
    return ["reference"] + [isa for isa, flag in named.items() if flag in flags]


class Logits(CliTest):
    def floats(self, model, ids, *arguments, **options):
        output = self.folder / "logits"
        self.ok("logits", model, "--ids", ids_text(ids), "--output", output, *arguments, **options)
        return output.read_bytes()

    def test_every_position_as_little_endian_floats(self):
        golden = json.loads((MODELS / "qwen3/golden.json").read_text())
        prompt = golden["prompts"][1]
        values = array.array("f", self.floats(MODELS / "qwen3", prompt["ids"]))
        vocab = golden["vocab_size"]
        self.assertEqual(len(values), len(prompt["ids"]) * vocab)
        expected = array.array("f", (MODELS / "qwen3/golden.f32").read_bytes())
        for i, row in enumerate(prompt["rows"]):
            for j in range(vocab):
                difference = values[row * vocab + j] - expected[(prompt["first_row"] + i) * vocab + j]
                self.assertLessEqual(abs(difference), 2e-4 * golden["max_abs_logit"])

    def test_same_bits_on_every_instruction_set_and_thread_count(self):
        isas = supported_isas()
        for model in ("llama_odd", "qwen3_all_types.gguf", "llama_q8_0.gguf", "qwen3_q4_0.gguf", "llama_sharded_f16"):
            ids = [i * 37 % 71 for i in range(70)]
            bits = {self.floats(MODELS / model, ids, env={"SAMPAN_ISA": isa}) for isa in isas}
            self.assertEqual(len(bits), 1, model)
            output = self.folder / "threads"
            self.ok("logits", MODELS / model, "--ids", ids_text(ids), "--output", output, "--threads", "3")
            self.assertEqual({output.read_bytes()}, bits, model)

    def test_each_form_of_latent_attention_has_bits_of_its_own(self):
        ids = [i * 37 % 71 for i in range(230)]
        for model in ("deepseek_v3", "deepseek2_q8_0.gguf"):
            bits = {}
            for form in ("absorbed", "expanded", "by-length"):
                bits[form] = {self.floats(MODELS / model, ids, "--mla", form, env={"SAMPAN_ISA": isa}) for isa in supported_isas()}
                self.assertEqual(len(bits[form]), 1, f"{model} {form}")
            self.assertEqual(bits["by-length"], bits["expanded"])
            self.assertNotEqual(bits["absorbed"], bits["expanded"])
            self.assertEqual({self.floats(MODELS / model, ids)}, bits["absorbed"])
        self.refused("logits", MODELS / "qwen3", "--ids", "1", "--output", self.folder / "x", "--mla", "both", says="--mla")

    def test_unknown_instruction_set(self):
        self.refused(
            "logits", MODELS / "qwen3", "--ids", "1", "--output", self.folder / "x", env={"SAMPAN_ISA": "mmx"}, says="SAMPAN_ISA=mmx"
        )

    def test_refusals(self):
        output = ("--output", self.folder / "x")
        self.refused("logits", MODELS / "qwen3", "--ids", "1,x", *output, says='"x" is not a token id')
        self.refused("logits", MODELS / "qwen3", "--ids", "5000", *output, says="not in the vocabulary")
        self.refused("logits", MODELS / "qwen3", "--ids", "1", "--output", "/nonexistent/x", says="/nonexistent/x: cannot write")
        self.refused("logits", "no/such", "--ids", "1", *output, says="no/such")
        self.refused("logits", MODELS / "qwen3", "--ids", "1", "--output", "/dev/full", says="No space left")


class Generate(CliTest):
    def test_greedy_golden(self):
        for item in json.loads((NANO / "golden.json").read_text()):
            answer = self.json(
                "generate", "nano", "--ids", ids_text(item["prompt_ids"]), "--max-tokens", len(item["greedy_ids"]), "--greedy", "--json"
            )
            self.assertEqual(answer["ids"], item["greedy_ids"])

    def test_no_tokenizer_needed(self):
        golden = json.loads((MODELS / "llama/golden.json").read_text())["prompts"][1]
        for model in ("llama", "llama_f32.gguf"):
            answer = self.json(
                "generate", MODELS / model, "--ids", ids_text(golden["ids"]), "--max-tokens", 64, "--greedy", "--ignore-eos", "--json"
            )
            self.assertEqual(answer["ids"], golden["greedy"])

    def test_seed_repeats_a_draw(self):
        command = ("generate", "nano", "--ids", "40,423", "--max-tokens", "12", "--temperature", "1.5", "--ignore-eos", "--json")
        first = self.json(*command, "--seed", "7")
        self.assertEqual(self.json(*command, "--seed", "7", "--threads", "1"), first)
        self.assertNotEqual([self.json(*command, "--seed", str(s)) for s in range(8, 12)], [first] * 4)

    def test_parameter_ranges(self):
        self.refused("generate", "nano", "--ids", "1", "--temperature", "-1", says="temperature is -1")
        self.refused("generate", "nano", "--ids", "1", "--top-p", "2", says="top_p is 2")


class Speculation(CliTest):
    models = (MODELS / "deepseek_v3_mtp_bf16", MODELS / "deepseek2_mtp_bf16.gguf")

    def test_the_same_ids_with_and_without_drafts(self):
        isas = supported_isas()
        sampling = ("--temperature", "0.9", "--seed", "3", "--repetition-penalty", "1.1", "--max-tokens", "80", "--ignore-eos", "--json")
        for model in self.models:
            command = ("generate", model, "--ids", "3,1,4,1,5,9", *sampling)
            expected = self.json(*command, "--speculate", "off")
            self.assertEqual(len(expected["ids"]), 80)
            self.assertEqual(self.json(*command), expected)
            for isa in isas:
                for depth in (1, 3):
                    drafted = self.json(*command, "--speculate", "on", "--speculate-depth", depth, env={"SAMPAN_ISA": isa})
                    self.assertEqual(drafted, expected, (model, isa, depth))

    def test_models_that_cannot_draft(self):
        for model in (NANO, MODELS / "deepseek_v3", MODELS / "deepseek2_v3_bf16.gguf"):
            command = ("generate", model, "--ids", "3,1,4", "--greedy", "--max-tokens", "5")
            self.refused(*command, "--speculate", "on", says="no layer of multi-token prediction")
            self.assertEqual(self.ok(*command, "--speculate", "auto"), self.ok(*command, "--speculate", "off"))
        self.assertNotEqual(run("run", "nano", "hi", "--speculate", "maybe").returncode, 0)

    def test_show_counts_the_layer(self):
        self.assertIn("prediction", self.ok("show", self.models[0]))
        self.assertNotIn("prediction", self.ok("show", MODELS / "deepseek_v3"))


@functools.cache
def plain_perplexity():
    """What `perplexity` says of nano on its held-out text, which takes a while."""
    return json.loads(run("perplexity", "nano", "--file", NANO / "heldout.txt", "--json").stdout)


# What a whole text takes under a sanitizer finds nothing that a short one does not.
whole_text = unittest.skipIf(os.environ.get("SANITIZERS"), "minutes under a sanitizer")


class Perplexity(CliTest):
    @whole_text
    def test_equals_the_card(self):
        card = re.search(r"perplexity: ([\d.]+) on `heldout.txt`", (NANO / "README.md").read_text()).group(1)
        self.assertEqual(f"{plain_perplexity()['perplexity']:.4f}", card)
        self.assertEqual(plain_perplexity()["scored_tokens"], 37562)

    @whole_text
    def test_an_8_bit_cache_is_nearly_as_good(self):
        coded = self.json("perplexity", "nano", "--file", NANO / "heldout.txt", "--kv-type", "q8_0", "--against", "nano", "--json")
        self.assertLess(abs(coded["perplexity"] / plain_perplexity()["perplexity"] - 1), 1e-3)
        self.assertGreater(coded["divergence"]["mean"], 1e-6)
        self.assertLess(coded["divergence"]["mean"], 5e-4)
        self.assertGreater(coded["divergence"]["same_top"], 0.98)

    @whole_text
    def test_rounded_products_are_nearly_as_good(self):
        rounded = self.json("perplexity", "nano", "--file", NANO / "heldout.txt", "--bf16-products", "rounded", "--json")
        self.assertNotEqual(rounded["nats"], plain_perplexity()["nats"])
        self.assertLess(abs(rounded["perplexity"] / plain_perplexity()["perplexity"] - 1), 2e-3)

    def test_rounded_products_are_the_same_on_every_instruction_set(self):
        command = ("generate", "nano", "--ids", "40,423,483", "--max-tokens", "30", "--greedy", "--json", "--bf16-products", "rounded")
        plain = self.json(*command)
        for isa in ("reference", "avx2"):
            self.assertEqual(self.json(*command, env={"SAMPAN_ISA": isa}), plain, isa)

    def test_a_model_does_not_diverge_from_itself(self):
        text = self.folder / "text.txt"
        text.write_text((NANO / "heldout.txt").read_text()[:20000])
        same = self.json("perplexity", "nano", "--file", text, "--against", "nano", "--json")["divergence"]
        self.assertEqual((same["mean"], same["highest"], same["same_top"]), (0, 0, 1))

    def test_models_of_other_vocabularies_are_not_compared(self):
        self.refused("perplexity", "nano", "--file", NANO / "heldout.txt", "--against", MODELS / "qwen3moe_q4_0.gguf", says="vocabularies differ")


class Memory(CliTest):
    def test_experts_that_do_not_fit_stay_in_the_file(self):
        model = MODELS / "qwen3moe_q4_0.gguf"
        self.assertIn("experts fit", self.ok("show", model, "--memory", "1MB"))
        self.assertNotIn("experts fit", self.ok("show", model, "--memory", "64GB"))
        command = ("generate", model, "--ids", "3,1,4,1,5", "--max-tokens", "20", "--greedy", "--ignore-eos", "--json")
        self.assertEqual(self.ok(*command, "--memory", "1MB"), self.ok(*command, "--memory", "64GB"))

    def test_a_size_is_asked_for(self):
        self.assertNotEqual(run("show", "nano", "--memory", "lots").returncode, 0)


class Quantize(CliTest):
    # What llama.cpp's quantiser (ik_llama.cpp, --pure) gives on the same text.
    peer = {"Q8_0": 38.5926, "Q4_0": 40.8474, "Q4_K": 39.9469, "Q6_K": 38.5658}

    def halves_of_the_text(self):
        text = (NANO / "heldout.txt").read_text()
        middle = text.index("\n", len(text) // 2)
        seen, unseen = self.folder / "seen.txt", self.folder / "unseen.txt"
        seen.write_text(text[:middle])
        unseen.write_text(text[middle:])
        return seen, unseen

    @whole_text
    def test_perplexity_within_half_a_percent_of_the_peer(self):
        for name, expected in self.peer.items():
            output = self.folder / f"{name}.gguf"
            self.ok("quantize", "nano", "--to", name, "--output", output)
            result = self.json("perplexity", output, "--file", NANO / "heldout.txt", "--json")
            self.assertLessEqual(result["perplexity"], expected * 1.005, name)

    @whole_text
    def test_calibrated_files_are_nearer_to_the_model(self):
        seen, unseen = self.halves_of_the_text()
        output = self.folder / "out.gguf"
        divergence = lambda: self.json("perplexity", output, "--file", unseen, "--against", "nano", "--json")["divergence"]["mean"]
        self.ok("quantize", "nano", "--to", "Q2_K", "--output", output)
        plain = divergence()
        self.ok("quantize", "nano", "--to", "Q2_K", "--calibrate", seen, "--output", output)
        self.assertLess(divergence(), 0.97 * plain)

    @whole_text
    def test_compensated_files_are_nearer_still(self):
        seen, unseen = self.halves_of_the_text()
        output = self.folder / "out.gguf"
        divergence = lambda: self.json("perplexity", output, "--file", unseen, "--against", "nano", "--json")["divergence"]["mean"]
        for name in ("Q4_0", "Q3_K"):
            command = ("quantize", "nano", "--to", name, "--calibrate", seen, "--output", output)
            self.ok(*command)
            calibrated = divergence()
            self.ok(*command, "--compensate")
            self.assertLess(divergence(), 0.8 * calibrated, name)

    def test_compensation_depends_on_neither_threads_nor_memory(self):
        text = self.folder / "text.txt"
        text.write_text((NANO / "heldout.txt").read_text()[:6000])
        files = []
        for i, options in enumerate((("--threads", "1"), ("--threads", "2", "--moments-memory", "3MB"))):
            files.append(self.folder / f"{i}.gguf")
            self.ok("quantize", "nano", "--to", "Q4_K_M", "--calibrate", text, "--compensate", "--output", files[-1], *options)
        self.assertEqual(files[0].read_bytes(), files[1].read_bytes())
        plain = self.folder / "plain.gguf"
        self.ok("quantize", "nano", "--to", "Q4_K_M", "--output", plain)
        self.assertEqual(plain.stat().st_size, files[0].stat().st_size)
        self.assertNotEqual(plain.read_bytes(), files[0].read_bytes())

    def test_what_is_not_compensated_is_said(self):
        text = self.folder / "text.txt"
        text.write_text("Once upon a time")
        command = ("--calibrate", text, "--compensate", "--output", self.folder / "out.gguf")
        said = run("quantize", "nano", "--to", "Q4_0", *command)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertIn("sampan: rounded without compensation: token_embd.weight (1 in all)\n", said.stderr)
        self.assertIn("fewer than the 768 columns", said.stderr)

    def test_compensation_is_refused_where_it_cannot_be(self):
        text = self.folder / "text.txt"
        text.write_text("Once upon a time")
        command = ("quantize", "nano", "--output", self.folder / "out.gguf")
        self.refused(*command, "--to", "Q4_K", "--compensate", says="--calibrate")
        self.refused(*command, "--to", "Q4_K", "--calibrate", text, "--moments-memory", "1GB", says="--compensate")
        self.refused(*command, "--to", "BF16", "--calibrate", text, "--compensate", says="BF16 has no codes")
        said = run(*command, "--to", "Q4_K", "--calibrate", text, "--compensate", "--moments-memory", "1MB")
        self.assertEqual(said.returncode, 2, said.stderr)
        self.assertIn("more than the", said.stderr)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["text.txt"])

    def test_calibration_is_refused_where_it_cannot_be(self):
        output = self.folder / "out.gguf"
        command = ("quantize", "nano", "--to", "Q4_K", "--output", output)
        self.refused(*command, "--calibrate", self.folder / "gone.txt", says="gone.txt")
        empty = self.folder / "empty.txt"
        empty.write_text("")
        self.refused(*command, "--calibrate", empty, says="no tokens")
        self.refused(*command, "--calibration-tokens", "5", says="--calibrate")
        self.assertFalse(output.exists())

    def test_mixtures_give_more_bits_where_errors_are_felt(self):
        config = json.loads((NANO / "config.json").read_text())
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        text = self.folder / "text.txt"
        text.write_text((NANO / "heldout.txt").read_text()[:20000])
        sizes, divergences = [], []
        for name in ("Q4_K", "q4_k_m"):
            output = self.folder / f"{name}.gguf"
            self.ok("quantize", "nano", "--to", name, "--output", output)
            sizes.append(output.stat().st_size)
            divergences.append(self.json("perplexity", output, "--file", text, "--against", "nano", "--json")["divergence"]["mean"])
        # Values and the way down of layers 2 and 5 of 6: 210 bytes for 256 weights instead of 144.
        self.assertEqual(layers, 6)
        more = 2 * (config["num_key_value_heads"] * config["head_dim"] + config["intermediate_size"]) * hidden
        self.assertEqual(sizes[1] - sizes[0], more // 256 * (210 - 144))
        self.assertLess(divergences[1], 0.95 * divergences[0])

    def test_keeps_tokenizer_template_and_float_weights(self):
        output = self.folder / "bf16.gguf"
        self.ok("quantize", "nano", "--to", "BF16", "--output", output)
        text = "Hello <|im_start|> wörld"
        self.assertEqual(self.json("tokenize", output, text), self.json("tokenize", "nano", text))
        request = self.folder / "request.json"
        request.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}]}))
        self.assertEqual(self.ok("render", output, "--messages", request), self.ok("render", "nano", "--messages", request))
        command = ("--ids", "40,423,483", "--max-tokens", "20", "--greedy", "--json")
        self.assertEqual(self.ok("generate", output, *command), self.ok("generate", "nano", *command))

    def test_stacked_experts_and_heads_of_a_gguf_file_keep_their_type(self):
        source, output = MODELS / "deepseek2_v3_bf16.gguf", self.folder / "bf16.gguf"
        self.ok("quantize", source, "--to", "BF16", "--output", output)
        self.assertLess(output.stat().st_size, 1.1 * source.stat().st_size)
        command = ("--ids", "3,1,4,1,5", "--max-tokens", "20", "--greedy", "--ignore-eos", "--json")
        self.assertEqual(self.ok("generate", output, *command), self.ok("generate", source, *command))

    def test_permuted_rows_come_back(self):
        output = self.folder / "llama.gguf"
        self.ok("quantize", MODELS / "llama3_rope_bf16", "--to", "BF16", "--output", output)
        command = ("--ids", "3,1,4,1,5", "--max-tokens", "40", "--greedy", "--ignore-eos", "--json")
        self.assertEqual(self.ok("generate", output, *command), self.ok("generate", MODELS / "llama3_rope_bf16", *command))

    def test_refusals(self):
        self.refused("quantize", "nano", "--to", "Q9_9", "--output", self.folder / "x", says="--to Q9_9")
        self.refused("quantize", "nano", "--to", "Q6_K_M", "--output", self.folder / "x", says="--to Q6_K_M")
        self.refused("quantize", MODELS / "qwen2_dynamic", "--to", "F16", "--output", self.folder / "x", says="dynamic NTK")
        self.refused("quantize", MODELS / "qwen3_moe", "--to", "F16", "--output", self.folder / "x", says="qwen3_moe")
        self.assertEqual(list(self.folder.iterdir()), [])


class Show(CliTest):
    def test_says_what_it_is_before_loading(self):
        text = self.ok("show", "nano", "--context", "2048")
        for piece in ("qwen3: 6 layers", "5.771 million", "BF16", "2048 tokens", "qwen2 pattern", "template", "memory"):
            self.assertIn(piece, text)
        self.assertIn("YaRN", self.ok("show", MODELS / "qwen3_yarn_bf16"))

    def test_unsupported_models_are_named(self):
        config = json.loads((NANO / "config.json").read_text())
        (self.folder / "model.safetensors").symlink_to(NANO / "model.safetensors")
        for change, says in (
            ({"model_type": "mamba"}, '"mamba"'),
            ({"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
            ({"hidden_size": 512}, "[4096, 256], the configuration asks for [4096, 512]"),
            ({"num_hidden_layers": 7}, "model.layers.6.input_layernorm.weight is missing"),
            ({"num_attention_heads": "x"}, '"num_attention_heads" is not an integer'),
            ({"num_key_value_heads": 3}, "4 query heads are not a multiple of 3"),
        ):
            (self.folder / "config.json").write_text(json.dumps({**config, **change}))
            self.refused("generate", self.folder, "--ids", "1", says=says)

    def test_damaged_weights(self):
        (self.folder / "config.json").write_text((NANO / "config.json").read_text())
        weights = (NANO / "model.safetensors").read_bytes()
        (self.folder / "model.safetensors").write_bytes(weights[:-100])
        self.refused("generate", self.folder, "--ids", "1", says="model.safetensors")


class Bench(CliTest):
    def test_prints_its_share_of_the_limits(self):
        result = self.json("bench", "nano", "--prompt", "64", "--generate", "8", "--repeats", "1", "--json")
        for key in ("prefill_tokens_per_second", "decode_tokens_per_second", "peak_read_gb_per_second", "peak_int8_gmac_per_second"):
            self.assertGreater(result[key], 0)

    def test_depths_go_one_by_one(self):
        lines = self.ok("bench", "--depth", "0,100", "nano", "--prompt", "8", "--generate", "4", "--repeats", "1", "--json").splitlines()
        self.assertEqual([json.loads(line)["depth"] for line in lines], [0, 100])
        text = self.ok("bench", "nano", "--prompt", "8", "--generate", "4", "--repeats", "1", "--depth", "70")
        self.assertIn("behind 70 tokens", text)
        self.refused("bench", "nano", "--depth", "1,x", says="--depth")

    def test_sequences_decode_side_by_side(self):
        sizes = ("--prompt", "0", "--generate", "4", "--repeats", "1", "--depth", "0,20")
        lines = self.ok("bench", "nano", *sizes, "--sequences", "1,3", "--json").splitlines()
        results = [json.loads(line) for line in lines]
        self.assertEqual([(r["depth"], r["sequences"]) for r in results], [(0, 1), (0, 3), (20, 1), (20, 3)])
        self.assertIn("in each of 3 texts", self.ok("bench", "nano", *sizes, "--sequences", "3"))
        self.refused("bench", "nano", "--sequences", "0", says="--sequences")


class Run(CliTest):
    def test_one_shot_from_argument_and_from_a_pipe(self):
        answer = self.ok("run", "nano", "Where is my order 48213?", "--greedy")
        self.assertIn("48213", answer)
        self.assertEqual(self.ok("run", "nano", "--greedy", stdin="Where is my order 48213?\n"), answer)
        self.refused("run", "nano", stdin="", says="the prompt is empty")

    def test_stop_strings_and_max_tokens(self):
        answer = self.ok("run", "nano", "Where is my order 48213?", "--greedy")
        words = answer.split()
        stopped = self.ok("run", "nano", "Where is my order 48213?", "--greedy", "--stop", " " + words[4])
        self.assertEqual(stopped.rstrip("\n"), answer[: answer.index(" " + words[4])])
        short = self.ok("run", "nano", "Where is my order 48213?", "--greedy", "--max-tokens", "3")
        self.assertTrue(answer.startswith(short.rstrip("\n")))

    def test_stats(self):
        result = run("run", "nano", "hi", "--stats")
        self.assertRegex(result.stderr, r"prompt tokens .* tokens/s; \d+ generated, .* GB/s")

    def test_help_is_for_newcomers(self):
        text = self.ok("--help")
        self.assertIn("sampan run nano", text)
        self.refused(says="see sampan --help")
        self.refused("fly", says="see sampan --help")


class Terminal:
    """The program in a pseudo-terminal."""

    def __init__(self, *arguments, folder, **environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", XDG_STATE_HOME=str(folder), **environment)
            os.execv(SAMPAN, [SAMPAN, *map(str, arguments)])
        self.output = ""
        self.seen = 0  # where the next text is looked for

    def wait_for(self, text, seconds=60):
        """Reads until `text` has come after what was waited for before."""
        end = time.monotonic() + seconds
        while text not in self.output[self.seen :]:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} did not come; got {self.output!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # the program ended
                    break
        self.seen = self.output.index(text, self.seen) + len(text)

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Conversation(CliTest):
    def test_chat_in_a_terminal(self):
        terminal = Terminal("run", "nano", "--greedy", folder=self.folder)
        terminal.wait_for(">>> ")
        terminal.type("/help\n")
        terminal.wait_for("/save FILE")
        terminal.type("Where is my order 48213?\n")
        terminal.wait_for("48213?")  # the echo
        terminal.wait_for("48213")  # the answer
        terminal.wait_for(">>> ")
        terminal.type("/set temperature 0.5\n")
        terminal.wait_for(">>> ")
        terminal.type("/set temperature hot\n")
        terminal.wait_for('"hot" is not a number')
        terminal.type("/system Answer in one word.\n")
        terminal.wait_for("system message is set")
        saved = self.folder / "chat.json"
        terminal.type(f"/save {saved}\n")
        terminal.wait_for("messages are in")
        terminal.type("/bye\n")
        self.assertEqual(terminal.close(), 0)
        roles = [message["role"] for message in json.loads(saved.read_text())["messages"]]
        self.assertEqual(roles, ["system", "user", "assistant"])
        self.assertIn("48213", (self.folder / "sampan/history").read_text())

    def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(self):
        # Without an end token only the context's 2,048 tokens end this answer, and the plain kernels take seconds for them.
        options = ("--greedy", "--ignore-eos", "--stats", "--threads", "1")
        terminal = Terminal("run", "nano", *options, folder=self.folder, SAMPAN_ISA="reference")
        terminal.wait_for(">>> ")
        terminal.type("Tell me everything.\n")
        # The echo may come twice: what is typed before the editor has taken the terminal over, the terminal shows as well.
        terminal.wait_for("\r\nI can")  # the answer
        terminal.type("\x03")
        terminal.wait_for(" generated, ")
        generated = int(re.search(r"(\d+) generated, ", terminal.output).group(1))
        self.assertLess(generated, 1900)
        saved = self.folder / "chat.json"
        terminal.type(f"/save {saved}\n")
        terminal.wait_for("2 messages are in")
        terminal.type("/bye\n")
        self.assertEqual(terminal.close(), 0)
        self.assertGreater(len(json.loads(saved.read_text())["messages"][1]["content"]), 0)

    def test_ctrl_c_in_one_shot_exits_with_130(self):
        process = subprocess.Popen(
            [SAMPAN, "generate", str(NANO), "--ids", "40", "--max-tokens", "1000000000", "--ignore-eos", "--temperature", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)


class Idle(CliTest):
    def test_a_waiting_program_uses_no_cpu(self):
        terminal = Terminal("run", "nano", folder=self.folder)
        terminal.wait_for(">>> ")
        time.sleep(0.5)

        def ticks():
            with open(f"/proc/{terminal.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        time.sleep(2)
        self.assertLessEqual(ticks() - before, 1)
        terminal.type("/bye\n")
        self.assertEqual(terminal.close(), 0)


if __name__ == "__main__":
    unittest.main()
