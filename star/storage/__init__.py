"""The files of a run: sealed Parquet files, weights, and the store that runs share."""
