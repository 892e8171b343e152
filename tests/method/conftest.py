"""Property tests here have no time limit per example: a busy machine is not a failure."""

from hypothesis import settings

settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")
