"""Companions of GRPO's loss, each in a file of its own (`training.rl.companions`; see `base`)."""

#: Those of this package: where the class is.
COMPANIONS = {name: f"realm.training.companions.{name}:{name.title()}" for name in ("internalize", "red", "sdft")}
