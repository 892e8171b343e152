"""Evaluation of a model directory without and with routes: generation, measures, intervals, tables."""
