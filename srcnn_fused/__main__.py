"""`python -m srcnn_fused`: the same as `srcnn-fused`."""

from .cli import main

if __name__ == "__main__":
    main()
