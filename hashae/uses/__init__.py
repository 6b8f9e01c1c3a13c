"""What autoencoders are also used for: outliers, probes, restoration."""
