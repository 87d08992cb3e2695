"""What is measured of one explainer, one file per group: `measure(run)` gives numbers per entity and details."""
