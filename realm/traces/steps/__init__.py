"""The steps of `training.sft.traces`, one file each: a function of the file's name (`realm.traces.base.Step`)."""
