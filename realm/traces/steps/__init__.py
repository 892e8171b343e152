"""The steps of `training.sft.traces`, one file each: the function has the name of its file (`realm.traces.base.Step`)."""
