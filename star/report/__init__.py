"""Report: what a run found, as rows, as a page and as a picture. Import from `front` where torch is not wanted."""
