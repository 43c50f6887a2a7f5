"""What a fetch writes: numbered shards as img2dataset lays them out, each complete or not there."""
