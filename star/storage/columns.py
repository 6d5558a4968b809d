"""Read the columns of a Parquet file that people made."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from star.errors import UserError

MOST_CELLS = 10**7


def read_columns(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a Parquet file by name.

    Raises:
        UserError: no such file, not Parquet, or more than 10 million cells.
    """
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MOST_CELLS:
                raise UserError(f"{path} has more than {MOST_CELLS:,} cells")
            return file.read().to_pydict()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from error
