"""Measures the fused op on a GPU against what a user would otherwise run there.

python -m bench.gpu --budget 200 --json bench/results/NAME.json
"""
