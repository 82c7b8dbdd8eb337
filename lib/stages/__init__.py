"""The stages of the lines: each makes one shard of one stage out of the stage before it."""
