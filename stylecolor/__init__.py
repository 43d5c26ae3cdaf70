"""stylecolor: give a grey photograph the colours of another photograph.

The package is a plain PyTorch library: tensors in, tensors out. Importing it is cheap; its modules import torch when they are used.
"""

__version__ = "0.1.0"
