"""Releases: what a run was made from, whether it still is what it says, its frozen versions, the leaderboard."""
