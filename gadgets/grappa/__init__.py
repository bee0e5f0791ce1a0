"""GRAPPA of one slice at a time, while the scan runs: images and their weights are made in parallel streams."""
