"""A network that can be read and edited at named sites, and the inputs that go into it.

Which one to take: `load_network` for a Hugging Face folder or hub id, `TorchAdapter` for any torch module in evaluation
mode, `TransformerLensAdapter` for a network with TransformerLens's hook points, `NNsightAdapter` for one that nnsight
wraps. All keep to one protocol, `Adapter`, which an adapter of your own can implement too. `ModelInputs` holds inputs
with the mask of their tokens; `merged_sites` finds sites that hold the same activation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
