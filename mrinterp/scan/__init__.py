"""Design x network -> Panel and SumStats, in canonical blocks, resumable shard by shard."""
