"""The method's ablations as data: each a grid of overrides in a YAML file, and one runner for all of them."""
