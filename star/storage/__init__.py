"""What a run is on disk: sealed Parquet files, weights, and the store that runs share."""
