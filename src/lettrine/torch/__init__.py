"""Everything that imports torch: the nn.Module twin, and the probe that watches any module."""
