"""The miners of `training.pairs.miner`, one file each: the function has the file's name (`realm.traces.base.Miner`)."""
