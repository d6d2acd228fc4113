"""Timing the fused op against what a user would otherwise run: `srcnn-fused bench`, and bench/.

The parts: what is measured (`cases`), who takes part (`peers`), how (`measure`), where (`machine`),
and what comes of it (`results`, `tables`). Only torch is needed; peers that need more say so.
"""
