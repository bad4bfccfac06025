#!/usr/bin/env python3
"""Measures sampan beside a peer's llama-bench on the same files, interleaved in one run, and writes a table.

    python3 tools/compare_with_peers.py build/release/apps/sampan/sampan --peer ik_llama.cpp=/path/to/llama-bench \\
        --output bench/results/NAME.md model-Q4_0.gguf model-Q8_0.gguf …

Each round runs every program once on a file; figures are medians over the rounds. sampan's line also gives its share of what the
machine can do, measured in the same call. The machine should be otherwise idle. Standard library only.
"""

import argparse
import json
import pathlib
import platform
import re
import statistics
import subprocess


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    fields = {k: re.search(rf"^{k}\s*:\s*(.*)$", text, re.MULTILINE).group(1) for k in ("model name", "cpu family", "model")}
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def run_sampan(binary, model, options, arguments):
    command = [binary, "bench", model, "--json", "--repeats", "1", "--threads", str(options.threads), *arguments]
    command += ["--prompt", str(options.prompt), "--generate", str(options.generate)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def variants_of(model):
    """(name, arguments, key of the peak) of each way in which sampan multiplies the weights."""
    if "bf16" not in pathlib.Path(model).name.lower():
        return [("sampan", [], "peak_int8_gmac_per_second")]
    rounded = ["--bf16-products", "rounded"]
    return [("sampan", [], "peak_float_gmac_per_second"), ("sampan, products rounded", rounded, "peak_bf16_gmac_per_second")]


def run_peer(binary, model, options):
    """llama-bench prints one row a test with "pp512" or "tg64" and "value ± deviation" in tokens/s."""
    command = [binary, "-m", model, "-p", str(options.prompt), "-n", str(options.generate), "-t", str(options.threads), "-r", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = lambda test: float(re.search(rf"\|\s*{test}\d+\s*\|\s*([\d.]+)", output).group(1))
    return {"prefill": rate("pp"), "decode": rate("tg")}


def our_row(model, name, runs, peak_key):
    median = lambda key: statistics.median(run[key] for run in runs)
    share = lambda key, peak: 100 * median(key) / max(run[peak] for run in runs)
    return (
        model,
        name,
        median("prefill_tokens_per_second"),
        median("decode_tokens_per_second"),
        f"{median('prefill_gmac_per_second'):.0f} GMAC/s, {share('prefill_gmac_per_second', peak_key):.0f} %",
        f"{median('decode_gb_per_second'):.1f} GB/s, {share('decode_gb_per_second', 'peak_read_gb_per_second'):.0f} %",
    )


def measure(model, peers, options):
    variants = variants_of(model)
    ours, theirs = {name: [] for name, *_ in variants}, {name: [] for name in peers}
    for _ in range(options.rounds):
        for name, arguments, _ in variants:
            ours[name].append(run_sampan(options.binary, model, options, arguments))
        for name, binary in peers.items():
            theirs[name].append(run_peer(binary, model, options))
    rows = [our_row(pathlib.Path(model).name, name, ours[name], peak) for name, _, peak in variants]
    peer_rows = []
    for name, results in theirs.items():
        prefill, decode = (statistics.median(run[key] for run in results) for key in ("prefill", "decode"))
        ours_by = [f"sampan is {', '.join(f'{row[i] / value:.2f}x' for row in rows)}" for i, value in ((2, prefill), (3, decode))]
        peer_rows.append(("", name, prefill, decode, *ours_by))
    return ours["sampan"][0]["isa"], rows + peer_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=LLAMA_BENCH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in options.peer)
    lines = []
    isa = ""
    for model in options.models:
        isa, rows = measure(model, peers, options)
        for name, program, prefill, decode, prefill_note, decode_note in rows:
            lines.append(f"| {name} | {program} | {prefill:.1f} | {prefill_note} | {decode:.1f} | {decode_note} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    text = "\n".join(
        [
            f"{cpu_name()}, {options.threads} threads, {isa}, Linux {platform.release()}, commit {commit}; medians of {options.rounds} interleaved rounds.",
            f"Prefill of {options.prompt} tokens and decode of {options.generate} tokens from an empty context; shares are of what the machine",
            "did in the same run (int8 or float products; streaming reads).",
            "",
            "| file | program | prefill, tokens/s | | decode, tokens/s | |",
            "|---|---|---|---|---|---|",
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
