#!/usr/bin/env python3
"""Measures sampan beside its peers on the same files, interleaved in one run, and writes a table.

    python3 tools/compare_with_peers.py build/release/apps/sampan/sampan --peer llama.cpp=/path/to/bin \\
        --peer 'ik_llama.cpp -rtr=/path/to/bin -rtr 1' --output bench/results/NAME.md model-Q4_0.gguf model-Q8_0.gguf …
    …  --depths 0,4096,16384      prefill and decode behind so many tokens
    …  --sequences 4,16,32        decode of so many texts side by side, all their tokens a second

A peer is a folder with its llama-bench, llama-batched-bench and, where it has one, llama-sweep-bench (which it then uses for depths;
another llama-bench must know -d), and options for them. Each round runs every program once on a file; figures are medians over the rounds.
sampan's line also gives its share of what the machine can do, measured in the same call. A peer that can't run a file is said so, with
its last words. The machine should be otherwise idle. Standard library only.
"""

import argparse
import json
import pathlib
import platform
import re
import shlex
import statistics
import subprocess


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    fields = {k: re.search(rf"^{k}\s*:\s*(.*)$", text, re.MULTILINE).group(1) for k in ("model name", "cpu family", "model")}
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


# --- what is measured: {case: {"prefill": tokens/s, "decode": tokens/s, …}}; a case is (depth, sequences)


def run_sampan(binary, model, options, arguments):
    command = [binary, "bench", model, "--json", "--repeats", "1", "--threads", str(options.threads), *arguments]
    command += ["--prompt", str(options.prompt), "--generate", str(options.generate)]
    command += ["--depth", ",".join(map(str, options.depths)), "--sequences", ",".join(map(str, options.sequences))]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    results = {}
    for result in map(json.loads, lines):
        result["prefill"], result["decode"] = result["prefill_tokens_per_second"], result["decode_tokens_per_second"]
        results[result["depth"], result["sequences"]] = result
    return results


def variants_of(model):
    """(name, arguments, key of the peak) of each way in which sampan multiplies the weights."""
    if "bf16" not in pathlib.Path(model).name.lower():
        return [("sampan", [], "peak_int8_gmac_per_second")]
    rounded = ["--bf16-products", "rounded"]
    return [("sampan", [], "peak_float_gmac_per_second"), ("sampan, products rounded", rounded, "peak_bf16_gmac_per_second")]


class Peer:
    def __init__(self, text):
        self.name, command = text.split("=", 1)
        folder, *self.arguments = shlex.split(command)
        self.folder = pathlib.Path(folder)

    def output(self, program, model, options, *arguments):
        command = [self.folder / program, "-m", model, "-t", str(options.threads), *self.arguments, *arguments]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1][:120])
        return done.stdout + done.stderr

    def run(self, model, options):
        results = {}
        if options.sequences != [1]:
            for depth in options.depths:
                results |= self.batched(model, options, depth)
        elif options.depths != [0] and (self.folder / "llama-sweep-bench").exists():
            results = self.sweep(model, options)
        else:
            for depth in options.depths:
                behind = ["-d", depth] if depth else []
                text = self.output("llama-bench", model, options, "-p", options.prompt, "-n", options.generate, "-r", 1, *behind)
                # One row a test with "pp512" or "tg64", perhaps "@ d4096", and "value ± deviation" in tokens/s.
                rate = lambda test: float(re.search(rf"\|\s*{test}\d+[^|]*\|\s*([\d.]+)", text).group(1))
                prefill = rate("pp") if options.prompt else None
                results[depth, 1] = {"prefill": prefill, "decode": rate("tg") if options.generate else None}
        return results

    def sweep(self, model, options):
        """Rows "PP TG N_KV T_PP S_PP T_TG S_TG", every prompt-sized step of the context one."""
        step, last = options.prompt, max(options.depths)
        if step == 0:
            raise RuntimeError("llama-sweep-bench needs a prompt")
        if any(depth % step for depth in options.depths):
            raise RuntimeError(f"depths must be multiples of {step}")
        size = ["-c", last + step, "-ub", step, "-b", max(2048, step), "-n", options.generate]
        text = self.output("llama-sweep-bench", model, options, *size)
        rows = [[float(cell) for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|[ \d.|]+\|$", text, re.MULTILINE)]
        by_depth = {int(row[2]): {"prefill": row[4], "decode": row[6]} for row in rows}
        return {(depth, 1): by_depth[depth] for depth in options.depths}

    def batched(self, model, options, depth):
        """Rows "PP TG B N_KV T_PP S_PP T_TG S_TG T S"; a context of no token is not to be had: one."""
        size = ["-c", max(options.sequences) * (max(depth, 1) + options.generate), "-b", 2048, "-ub", 512]
        counts = ["-npp", max(depth, 1), "-ntg", options.generate, "-npl", ",".join(map(str, options.sequences))]
        text = self.output("llama-batched-bench", model, options, *size, *counts)
        rows = [[float(cell) for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|[ \d.|]+\|$", text, re.MULTILINE)]
        return {(depth, int(row[2])): {"prefill": None, "decode": row[7]} for row in rows}


# --- tables


def median_of(runs, case, key):
    values = [run[case][key] for run in runs]
    return None if None in values else statistics.median(values)


def with_share(runs, case, value, key, unit, peak):
    share = 100 * median_of(runs, case, key) / max(run[case][peak] for run in runs)
    return f"{value:.1f} | {median_of(runs, case, key):.1f} {unit}, {share:.0f} %"


def beside(values, theirs):
    if theirs is None:
        return "– |"
    return f"{theirs:.1f} | sampan is {', '.join(f'{value / theirs:.2f}x' for value in values)}"


def case_rows(file, case, variants, ours, peers):
    """Markdown rows of one file at one depth and number of texts."""
    first = f"| {file} | {case[0]} | {case[1]} |"
    for name, _, peak in variants:
        runs = ours[name]
        prefill, decode = (median_of(runs, case, key) for key in ("prefill", "decode"))
        prefill_cells = with_share(runs, case, prefill, "prefill_gmac_per_second", "GMAC/s", peak)
        decode_cells = with_share(runs, case, decode, "decode_gb_per_second", "GB/s", "peak_read_gb_per_second")
        yield f"{first} {name} | {prefill_cells} | {decode_cells} |"
        first = "| | | |"
    for name, runs in peers.items():
        if not isinstance(runs, list):
            yield f"| | | | {name} | – | {runs} | – | |"
            continue
        cells = [beside([median_of(ours[v], case, key) for v, *_ in variants], median_of(runs, case, key)) for key in ("prefill", "decode")]
        yield f"| | | | {name} | {cells[0]} | {cells[1]} |"


def measure(model, peers, options):
    variants = variants_of(model)
    ours, theirs = {name: [] for name, *_ in variants}, {peer.name: [] for peer in peers}
    for _ in range(options.rounds):
        for name, arguments, _ in variants:
            ours[name].append(run_sampan(options.binary, model, options, arguments))
        for peer in peers:
            if not isinstance(theirs[peer.name], list):
                continue
            try:
                theirs[peer.name].append(peer.run(model, options))
            except RuntimeError as error:
                theirs[peer.name] = str(error).replace("|", " ")
    cases = list(ours["sampan"][0])
    rows = [row for case in cases for row in case_rows(pathlib.Path(model).name, case, variants, ours, theirs)]
    return ours["sampan"][0][cases[0]]["isa"], rows


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME='FOLDER [OPTION…]'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--depths", type=numbers, default=[0])
    parser.add_argument("--sequences", type=numbers, default=[1])
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    peers = [Peer(text) for text in options.peer]
    lines = []
    isa = ""
    for model in options.models:
        isa, rows = measure(model, peers, options)
        lines += rows
    here = pathlib.Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()
    text = "\n".join(
        [
            f"{cpu_name()}, {options.threads} threads, {isa}, Linux {platform.release()}, commit {commit}; medians of {options.rounds} interleaved rounds.",
            f"Prefill of {options.prompt} tokens and decode of {options.generate} tokens, each behind `depth` tokens, decode in `texts` texts at once (all their tokens a second);",
            "shares are of what the machine did in the same run (int8 or float products; streaming reads).",
            "",
            "| file | depth | texts | program | prefill, tokens/s | | decode, tokens/s | |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)


if __name__ == "__main__":
    main()
