"""Features: views of a site's activation that can be read and written.

Which one to take: `Units` for neurons and channels, `WholeLayer` for all of them, `AttentionHeads` for heads,
`Directions` for probes and components, `difference_of_means` between two groups, `Subspace` for a rotation, `Latents`
for a sparse autoencoder (`read_sae`, `train_topk_sae`; `reconstruction_report` and `loss_recovered` say how good it
is), `TranscoderView` for a transcoder. `ChannelMap` applies a view to feature maps of images. A view of your own is a
`TokenFeatureView`, or anything that keeps to `FeatureView`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
