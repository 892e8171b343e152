"""Evaluation of a model without and with routes: measures and their intervals."""
