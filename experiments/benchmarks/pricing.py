"""Genomes priced per second on one core: `star price` on a Parquet file of random 24-slot genomes at 125m.

python experiments/benchmarks/pricing.py [--genomes 20000]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from star.genome import Space, to_text

SLOTS = 24
STAR = Path(sys.executable).with_name("star")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=20_000)
    rng = np.random.default_rng(0)
    space = Space(SLOTS)
    genomes = [space.sample(rng) for _ in range(parser.parse_args().genomes)]
    with tempfile.TemporaryDirectory() as folder:
        for kind, column in (("integers", genomes), ("texts", [to_text(genome) for genome in genomes])):
            path = Path(folder) / f"{kind}.parquet"
            pq.write_table(pa.table({"genome": pa.array(column)}), path)
            command = [STAR, "price", path, "--scale", "125m", "--json"]
            result = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            print(f"{kind:9} {result['genomes_per_second']:8,.0f} genomes/s over {result['genomes']:,}, on one core")


if __name__ == "__main__":
    main()
