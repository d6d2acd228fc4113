"""Enlarging video: upscale_video for files, enlarge_planes for frames that one has already.

Files need PyAV (``pip install 'srcnn_fused[video]'``), which is imported when the first is met.
"""

from .files import VideoSummary, upscale_video
from .planes import PlaneFormat, enlarge_planes

__all__ = ["PlaneFormat", "VideoSummary", "enlarge_planes", "upscale_video"]
