"""The parts of :mod:`srcnn_fused.train`: its recipe, the network while it trains, its files."""
