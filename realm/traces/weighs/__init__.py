"""The weights of `training.sft.weigh`, one file each: the function has the file's name (`realm.traces.base.Weigh`)."""
