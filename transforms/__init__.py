"""The engine, and a toolkit of composite transforms; they know no business."""

from transforms.native import compiled_modules

__path__[:0] = compiled_modules()
