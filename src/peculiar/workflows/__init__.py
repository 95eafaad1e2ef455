"""Whole jobs, from files to files: the only place where the rooms meet."""
