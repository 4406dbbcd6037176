"""The service: sweeps as jobs of a cluster, and whether a machine or cluster is fit for them."""
