"""Shapes of rewards and advantages, each in a file of its own (`training.rl.shapes`; see `base`)."""

#: Those of this package: where the class is.
SHAPES = {
    name: f"realm.training.shapes.{name}:{name.title()}" for name in ("brier", "cosine", "length", "mgpo", "overlong")
}
