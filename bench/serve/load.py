#!/usr/bin/env python3
"""Loads an OpenAI-compatible server with streams side by side and prints what each user and the machine get.

  bench/serve/load.py --url http://127.0.0.1:8080 --streams 1,4,16,64 --tokens 64
  bench/serve/load.py --url http://A --url http://B --streams 16 --rounds 3     servers in turns, round by round
  bench/serve/load.py --url http://A --behind 4096        time to first token of a short request behind a long prompt
  bench/serve/load.py --url http://A --minutes 30 --streams 16 --disconnects 0.2    mixed load with hang-ups

Standard library only. Prompts are token ids, drawn from a seed, different for each request unless --shared says how many they begin with in
common. Answers ignore the end-of-text token, so that all servers write the same number of tokens."""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import time
import urllib.parse


class Result:
    def __init__(self):
        self.first = None  # seconds until the first token
        self.gaps = []  # seconds between pieces
        self.tokens = 0
        self.error = None


async def stream(url, body, key=None, hang_up_after=None):
    """One request. hang_up_after: pieces after which the client leaves."""
    result = Result()
    parts = urllib.parse.urlsplit(url)
    text = json.dumps(body).encode()
    begin = last = time.perf_counter()
    writer = None
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n"
        if key:
            head += f"Authorization: Bearer {key}\r\n"
        writer.write(head.encode() + b"\r\n" + text)
        status = await reader.readline()
        if b" 200 " not in status:
            result.error = (status + await reader.read(2000)).decode(errors="replace")[:300]
            return result
        done = False
        pieces = 0
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                done = True
                break
            event = json.loads(line[6:])
            if "error" in event:
                result.error = str(event["error"])[:300]
                return result
            if event.get("usage"):
                result.tokens = event["usage"]["completion_tokens"]
            if event.get("choices") and event["choices"][0].get("finish_reason") is None:
                now = time.perf_counter()
                if result.first is None:
                    result.first = now - begin
                else:
                    result.gaps.append(now - last)
                last = now
                pieces += 1
                if hang_up_after is not None and pieces >= hang_up_after:
                    return result
        if not done:
            result.error = "the stream ended before [DONE]"
    except (OSError, asyncio.IncompleteReadError, json.JSONDecodeError) as error:
        result.error = repr(error)
    finally:
        if writer:
            writer.close()
    return result


def request(args, rng, prompt_tokens, tokens, shared=()):
    ids = list(shared) + [rng.randrange(1000, args.vocabulary) for _ in range(prompt_tokens - len(shared))]
    return {"model": args.model, "prompt": ids, "max_tokens": tokens, **args.sampling, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True}}


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def check(url, results):
    """Ends the program where a request failed or its answer had no text whose time could be taken."""
    errors = [r.error for r in results if r.error]
    if errors:
        raise SystemExit(f"{url}: {len(errors)} of {len(results)} failed: {errors[0]}")
    if any(r.first is None for r in results):
        raise SystemExit(f"{url}: an answer had no text; does the model have its tokenizer?")


def tokens_after(result, moment):
    """Tokens of an answer that came later than `moment` seconds after its request, each piece counted as their mean number."""
    times = list(itertools.accumulate(result.gaps, initial=result.first))
    return result.tokens * sum(time > moment for time in times) / len(times)


async def side_by_side(args, url, streams, rng):
    """`streams` requests at once: tokens/s of all together from the first token of the last one to begin."""
    shared = [rng.randrange(1000, args.vocabulary) for _ in range(args.shared)]
    begin = time.perf_counter()
    results = await asyncio.gather(*(stream(url, request(args, rng, args.prompt, args.tokens, shared), args.key) for _ in range(streams)))
    seconds = time.perf_counter() - begin
    check(url, results)
    first = max(r.first for r in results)
    tokens = sum(r.tokens for r in results)
    late = sum(tokens_after(r, first) for r in results)
    decode = late / (seconds - first) if seconds > first else float("nan")
    gaps = [gap for r in results for gap in r.gaps]
    return {"all": tokens / seconds, "decode": decode, "first": statistics.median(r.first for r in results), "first_worst": first,
            "gap50": quantile(gaps, 0.5), "gap99": quantile(gaps, 0.99)}


async def throughput(args):
    rng = random.Random(args.seed)
    print(f"| streams | server | tokens/s, all | tokens/s after the last first token | first token, median | worst | gap p50 | p99 |\n|---|---|---|---|---|---|---|---|")
    for streams in args.streams:
        rounds = {url: [] for url in args.url}
        for _ in range(args.rounds):
            for url in args.url:
                rounds[url].append(await side_by_side(args, url, streams, rng))
        for url in args.url:
            m = {k: statistics.median(r[k] for r in rounds[url]) for k in rounds[url][0]}
            print(f"| {streams} | {url} | {m['all']:.1f} | {m['decode']:.1f} | {m['first']:.2f} s | {m['first_worst']:.2f} s | {m['gap50'] * 1e3:.0f} ms | {m['gap99'] * 1e3:.0f} ms |", flush=True)


async def behind(args):
    rng = random.Random(args.seed)
    for url in args.url:
        alone = [await stream(url, request(args, rng, 16, 8), args.key) for _ in range(3)]
        long_one = asyncio.create_task(stream(url, request(args, rng, args.behind, 8), args.key))
        await asyncio.sleep(0.3)
        short = await stream(url, request(args, rng, 16, 8), args.key)
        was_running = not long_one.done()
        long_result = await long_one
        check(url, [*alone, short, long_result])
        print(f"{url}: first token of 16 tokens alone {statistics.median(r.first for r in alone):.3f} s, behind {args.behind} tokens {short.first:.3f} s"
              f" ({'the long prompt was still being read' if was_running else 'the long prompt was done'}); of the long one {long_result.first:.2f} s", flush=True)


async def prefix(args):
    rng = random.Random(args.seed)
    for url in args.url:
        shared = [rng.randrange(1000, args.vocabulary) for _ in range(args.shared)]
        cold = await stream(url, request(args, rng, args.shared + 16, 4, shared), args.key)
        warm = [await stream(url, request(args, rng, args.shared + 16, 4, shared), args.key) for _ in range(3)]
        check(url, [cold, *warm])
        print(f"{url}: {args.shared} shared tokens: first token cold {cold.first:.3f} s, warm {statistics.median(r.first for r in warm):.3f} s", flush=True)


async def endurance(args):
    """`streams` users who ask again and again; some leave in the middle."""
    rng = random.Random(args.seed)
    end = time.perf_counter() + args.minutes * 60
    counts = {"done": 0, "left": 0, "tokens": 0}
    errors = []

    async def user(url):
        while time.perf_counter() < end:
            leaves = rng.random() < args.disconnects
            body = request(args, rng, rng.choice([8, 32, 128, 512]), rng.choice([4, 16, 64]))
            result = await stream(url, body, args.key, rng.randrange(1, 12) if leaves else None)
            if result.error:
                errors.append(result.error)
            counts["left" if leaves else "done"] += 1
            counts["tokens"] += result.tokens

    await asyncio.gather(*(user(args.url[i % len(args.url)]) for i in range(args.streams[0])))
    print(f"{args.minutes:g} minutes, {args.streams[0]} users: {counts['done']} answers whole, {counts['left']} hung up on, {counts['tokens']} tokens, {len(errors)} errors")
    for error in sorted(set(errors))[:5]:
        print(" ", error)
    raise SystemExit(1 if errors else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--key")
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each answer")
    parser.add_argument("--shared", type=int, default=0, help="tokens with which all prompts begin")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, default=100000, help="ids are drawn from 1000 up to this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sampling", type=json.loads, default={"temperature": 0}, help="a JSON object of sampling parameters")
    parser.add_argument("--behind", type=int, help="measure the first token behind a prompt of that many tokens")
    parser.add_argument("--prefix", action="store_true", help="measure the first token with --shared tokens, cold and warm")
    parser.add_argument("--minutes", type=float, help="load for that long")
    parser.add_argument("--disconnects", type=float, default=0.0, help="share of requests that hang up")
    args = parser.parse_args()
    if args.behind:
        asyncio.run(behind(args))
    elif args.prefix:
        asyncio.run(prefix(args))
    elif args.minutes:
        asyncio.run(endurance(args))
    else:
        asyncio.run(throughput(args))


if __name__ == "__main__":
    main()
