"""The command line that the makers of tiny checkpoints share."""

import argparse
import pathlib


def make_folders(description, makers, output):
    """Makes a folder for each of {name: make(folder) -> seed}, or for --only NAME alone, below --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", help="make this one alone")
    parser.add_argument("--output", type=pathlib.Path, default=output)
    args = parser.parse_args()
    for name, make in makers.items():
        if args.only in (None, name):
            folder = args.output / name
            seed = make(folder)
            size = sum(f.stat().st_size for f in folder.iterdir())
            print(f"{name}: seed {seed}, {size / 1000:.0f} kB", flush=True)
