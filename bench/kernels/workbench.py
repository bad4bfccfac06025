#!/usr/bin/env python3
"""Checks and times variants of the matrix products side by side: the bench to work on kernels with.

    cmake --build build/release --target product_worker
    cp build/release/bench/product_worker /tmp/1                # as it is; then change a kernel and build again
    python3 bench/kernels/workbench.py /tmp/1 build/release/bench/product_worker --types Q4_0,Q8_0 --tokens 1,512
    python3 bench/kernels/workbench.py build/release/bench/product_worker@avx2 build/release/bench/product_worker@avx512

Variants are builds of product_worker, each with the instruction set after "@" (else the best one), numbered as they are given. Number 0 is
the reference in plain C++ of variant 1's build: every variant must give its bits. All make the same weights, then take turns of some
hundredths of a second, so that what else happens on the machine meets all alike. A figure is the median over the turns, its share that of
the machine's limit (bandwidth for few tokens, else products), "to 1" the median over the rounds of the speed over variant 1's in the same
round. Ends with status 1 when bits differ. Standard library only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

FEW_TOKENS = 16  # below, the bandwidth is the limit


class Worker:
    def __init__(self, variant, threads, isa=None):
        self.name = variant
        path, _, named_isa = variant.partition("@")
        environment = os.environ | {"SAMPAN_ISA": isa or named_isa}
        if not environment["SAMPAN_ISA"]:
            del environment["SAMPAN_ISA"]
        command = [path, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(self, line):
        try:
            print(line, file=self.process.stdin, flush=True)
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise SystemExit(f"{self.name}: ended with status {self.process.wait()} at “{line}”")
        if "error" in answer:
            raise SystemExit(f"{self.name}: {line}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def reference_hash(options, case):
    reference = Worker(options.variants[0].partition("@")[0], options.threads, "reference")
    answer = reference.ask("case " + case)
    reference.close()
    return answer["hash"]


def rounds_of_seconds(workers, options):
    """[seconds of a product of each worker] for each round; every other round goes backwards."""
    rounds = []
    for number in range(options.rounds):
        seconds = {}
        for worker in workers if number % 2 == 0 else reversed(workers):
            seconds[worker] = worker.ask(f"run {options.seconds}")["seconds"]
        rounds.append([seconds[worker] for worker in workers])
    return rounds


def bench_case(workers, peaks, options, kind, shape, tokens):
    """Prints a line for each variant; returns whether all have the bits of the reference."""
    rows, columns = map(int, shape.split("x"))
    case = f"{kind} {rows} {columns} {tokens}"
    expected = None if options.no_check else reference_hash(options, case)
    made = [worker.ask("case " + case) for worker in workers]
    rounds = rounds_of_seconds(workers, options)
    for i, answer in enumerate(made):
        seconds = statistics.median(r[i] for r in rounds)
        if tokens < FEW_TOKENS:
            unit, amount, limit = "GB/s", answer["weight_bytes"] / seconds, peaks["read"]
        else:
            unit, amount, limit = "GMAC/s", tokens * rows * columns / seconds, peaks[answer["peak"]]
        ratio = statistics.median(r[0] / r[i] for r in rounds)
        bits = "not checked" if expected is None else "same bits" if answer["hash"] == expected else "BITS DIFFER"
        print(f"{kind:12} {shape:>12} {tokens:5}  {i + 1}  {amount / 1e9:8.1f} {unit:6} {amount / limit:5.0%}  {ratio:6.3f}  {bits}", flush=True)
    return expected is None or all(answer["hash"] == expected for answer in made)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", metavar="PATH[@ISA]")
    parser.add_argument("--types", default="Q4_0,Q4_K,Q6_K,Q8_0,BF16")
    parser.add_argument("--shapes", default="3072x1024,1024x3072")
    parser.add_argument("--tokens", default="1,4,16,512")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a turn")
    parser.add_argument("--no-check", action="store_true", help="leave out the reference, which is slow")
    options = parser.parse_args()

    workers = [Worker(variant, options.threads) for variant in options.variants]
    all_peaks = [worker.ask("peaks") for worker in workers]
    for number, (worker, peaks) in enumerate(zip(workers, all_peaks), 1):
        print(f"{number}  {worker.name}, {peaks['isa']}, {peaks['threads']} threads")
    peaks = {key: statistics.median(p[key] for p in all_peaks) for key in ("read", "int8", "float", "bf16")}
    print(f"reads {peaks['read'] / 1e9:.1f} GB/s; products " + ", ".join(f"{k} {peaks[k] / 1e9:.0f}" for k in ("int8", "float", "bf16")) + " GMAC/s")
    print(f"{'type':12} {'shape':>12} {'tokens':>5}  #  {'speed':>15} {'share':>5}  {'to 1':>6}")
    same = [
        bench_case(workers, peaks, options, kind, shape, int(tokens))
        for kind in options.types.split(",")
        for shape in options.shapes.split(",")
        for tokens in options.tokens.split(",")
    ]
    for worker in workers:
        worker.close()
    sys.exit(0 if all(same) else 1)


if __name__ == "__main__":
    main()
