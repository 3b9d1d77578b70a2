"""Opts chosen from a kernel's strides and sizes alone, for each target."""

from anneal.kernel.heuristic.choices import Choices
from anneal.kernel.heuristic.cpu import for_cpu
from anneal.kernel.heuristic.webgpu import for_webgpu

__all__ = ["Choices", "for_cpu", "for_webgpu"]
