"""Models judged against known truth: one protocol, and a folder for each paper's way of judging."""
