"""Which files are videos: by the name, as with pictures."""

from __future__ import annotations

from pathlib import Path

__all__ = ["VIDEO_SUFFIXES", "is_video"]

# Suffix -> FFmpeg's muxer, of the files we write, and read.
VIDEO_SUFFIXES = {
    ".mp4": "mp4",
    ".m4v": "mp4",  # FFmpeg's own "m4v" is a bare MPEG-4 stream
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".y4m": "yuv4mpegpipe",
}


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES
