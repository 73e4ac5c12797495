from ._hugging_face import load_network as load_network
from ._model_inputs import ModelInputs as ModelInputs
from ._nnsight import NNsightAdapter as NNsightAdapter
from ._torch_module import TorchAdapter as TorchAdapter
from ._transformer_lens import TransformerLensAdapter as TransformerLensAdapter
