"""Report: the findings of a run as rows, as a page and as a picture. `star.report.front` does not load torch."""
