"""A network with a cut: the site's activations reduced to features, token mean and class deviations.

The cut is everything that passes through the site. Features are one part of it; the rest is what estimates adjust for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.core.basis import Dictionary
from mrinterp.core.errors import InputError
from mrinterp.features._dictionary_view import dictionary_view
from mrinterp.features._feature_view import TokenFeatureView
from mrinterp.features._latents import Latents, ReconstructionError, row_blocks
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._sae_settings import check_sae_use
from mrinterp.features._transcoder_weights import PairedLatents, Transcoder
from mrinterp.models._array_inputs import ArrayNoise
from mrinterp.models._resumption import Resumption
from mrinterp.models._site_heads import check_heads
from mrinterp.models._token_activation import TokenActivation, token_activation
from mrinterp.models._trimmed_runs import padding_is_idle
from mrinterp.models._write_gradient import CHANGED_IN_PLACE
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS, Position, named_position

__all__ = ["CutNetwork", "CutReading"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

COPIES = 8
"""Of the latents of an input's tokens that reading them holds, in numbers of single precision."""


@dataclass(frozen=True, eq=False)
class CutReading:
    """What was read at the cut in one block of runs; what `CutNetwork.run` returns.

    Parameters
    ----------
    outcome : ndarray (N, O)
        Outcomes, in their own units.
    features : ndarray (N, F)
        Values that the network's view reads; no columns without a view.
    parts : dict of str to ndarray
        The cut in parts. ``mean`` (N, width): mean of the site over the tokens where features are
        read. ``position`` (N, C * width): per position class (1/T) times the sum over its tokens of
        h_t, less the mean for tokens where features are read: zero for an absent class, and not moved
        by a shift of those tokens. ``error``: mean of the autoencoder's reconstruction error. ``beside``
        and ``beside_position``: the same two of the second site.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from mrinterp.models import array_network
    >>> from mrinterp.outcomes import Logit
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)).eval()
    >>> reading = array_network(net, "0", np.zeros((10, 4)), Logit(0)).run(np.arange(5))
    >>> reading.outcome.shape, reading.mean.shape
    ((5, 1), (5, 3))
    """

    outcome: Array
    features: Array
    parts: dict[str, Array] = field(default_factory=dict)

    @property
    def mean(self) -> Array:
        """Mean of the site over the tokens where features are read (N, width)."""
        return self.parts["mean"]

    @property
    def deviation(self) -> Array:
        """Class deviations of the site (N, C * width)."""
        return self.parts["position"]


@dataclass(frozen=True, eq=False)
class CutNetwork:
    """A network on its inputs, read and written at one site.

    Parameters
    ----------
    adapter : Adapter
        The network; a `PairedSites` where features are read at another site than ``site``, where they are written.
    site : str
        Where features are read and written; the cut is its activation at every token.
    inputs : ModelInputs
        All inputs of a design.
    outcome : OutcomeSet
        Of these inputs.
    position : Position, optional
        Tokens at which features are read and written; None where inputs have no tokens.
    embedding : str, optional
        Site of the word embedding, where noise is added.
    beside : str, optional
        A second site, for a ``site`` through which only part of the signal passes: both together are the cut.
    sae : SparseAutoencoder or Transcoder, optional
        Whose latents are the features; an autoencoder's reconstruction error becomes a part of the cut.
    view : TokenFeatureView, optional
        Through which features are read.
    noise_at : ArrayNoise, optional
        Where noise goes on inputs that have no words.

    Examples
    --------
    Made by `array_network` for images and tables, and by a study for its own network:

    >>> import numpy as np, torch
    >>> from mrinterp.features import Units
    >>> from mrinterp.models import array_network
    >>> from mrinterp.outcomes import Logit
    >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(4, 2)).eval()
    >>> network = array_network(net, "0", np.eye(4), Logit(0)).viewing(Units([1], 4))
    >>> network.run().features.ravel().tolist()
    [0.0, 1.0, 0.0, 0.0]
    """

    adapter: Adapter
    site: str
    inputs: ModelInputs
    outcome: OutcomeSet
    position: Position | None = None
    embedding: str | None = None
    beside: str | None = None
    sae: SparseAutoencoder | Transcoder | None = None
    view: TokenFeatureView | None = None
    noise_at: ArrayNoise | None = None

    def viewing(self, view: TokenFeatureView | Dictionary | None) -> CutNetwork:
        """The same network, its features read through another view."""
        if isinstance(view, Dictionary):
            view = self.dictionary_view(view)
        check_heads(view, self.adapter, self.site)
        check_sae_use(view, self.adapter, self.site, self.inputs, self.position)
        return replace(self, view=view)

    @property
    def view_site(self) -> str:
        """Where the view is applied: the site, or the pair of it and the one that is read."""
        return self.adapter.site if isinstance(self.adapter, PairedSites) else self.site

    def latents(self, which: Sequence[int] | None = None) -> Latents | PairedLatents:
        """The view of some latents, or all, of the autoencoder or transcoder."""
        if isinstance(self.sae, Transcoder):
            assert isinstance(self.adapter, PairedSites)
            return PairedLatents(self.sae, self.adapter, which)
        assert self.sae is not None
        return Latents(self.sae, self.width, which)

    def dictionary_view(self, dictionary: Dictionary) -> TokenFeatureView:
        """The view of a dictionary's features."""
        latents = self.latents(dictionary.latents) if self.sae is not None and dictionary.latents else None
        return dictionary_view(dictionary, latents)

    def placed(self, name: int | str) -> CutNetwork:
        """The same network, its features read at the tokens that a study file names so; as it is without tokens."""
        if self.inputs.mask is None:
            return self
        return replace(self, position=named_position(name, self.inputs.class_names))

    @cached_property
    def is_map(self) -> bool:
        """Whether the site holds feature maps (N, channels, height, width), whose places are its tokens."""
        with torch.inference_mode():
            run = self.adapter.run(self.inputs.take([0]).tensors, read=[self.site])
        return run.activations[self.site].ndim == 4

    @cached_property
    def width(self) -> int:
        """Width of the site."""
        with torch.inference_mode():
            run = self.adapter.run(self.inputs.take([0]).tensors, read=[self.site])
        return self._activation(run.activations[self.site], self.inputs.take([0])).width

    def run(
        self,
        rows: Rows | None = None,
        *,
        noise: NDArray[np.float32] | None = None,
        shift: Array | None = None,
        draw: tuple[int, NDArray[np.int_]] | None = None,
        start: torch.Tensor | None = None,
        cut: bool = True,
        tokens: int | None = None,
    ) -> CutReading:
        """One forward pass of a block.

        Parameters
        ----------
        rows : ndarray (N,) of int, optional
            Which inputs; default all.
        noise : ndarray (N, C, width), optional
            Added to the word embedding of every token of each position class.
        shift : ndarray (N, width), optional
            Added to the site wherever features are read.
        draw : (int, ndarray (N,)), optional
            Stream and run numbers that key the draws of a sampled outcome; without it a sampled
            outcome is the computed one.
        start : tensor, optional
            What `activation` returned for these rows: the layers before it are not run again.
        cut : bool
            Whether to read the parts of the cut too, not only features and outcome.
        tokens : int, optional
            Run the first so many tokens only: no fewer than `lengths` says of any of these inputs.
        """
        rows = np.arange(len(self.inputs)) if rows is None else rows
        inputs, outcome = self._taken(rows, tokens), self.outcome.take(rows)
        write: dict[str, Edit] = {}
        if noise is not None:
            inputs, write = self._noisy(inputs, noise)
        if shift is not None:
            step = torch.from_numpy(np.ascontiguousarray(shift, dtype=np.float32))
            write[self.site] = self._shift(step, inputs)
        begin: AbstractContextManager[None] = nullcontext()
        if start is not None and self._resumption is not None:
            begin = self._resumption.begin(start)
        beside = [self.beside] if cut and self.beside else []
        with torch.inference_mode(), begin:
            viewed = [self.view_site] if self.view is not None else []
            result = self.adapter.run(inputs.tensors, read=[self.site, *beside, *viewed], write=write)
            site = self._activation(result.activations[self.site], inputs)
            features = np.zeros((len(rows), 0))
            if self.view is not None:
                features = _numpy(self._viewed(result.activations, inputs).read(self.view))
            parts = self._parts(site) if cut else {}
            for name in beside:
                other = self._activation(result.activations[name], inputs, name)
                parts |= {"beside": _numpy(other.mean()), "beside_position": _numpy(other.deviations())}
        values = outcome.values(self.adapter, inputs, result.output, write, draw)
        return CutReading(values, features, parts)

    @cached_property
    def lengths(self) -> Rows:
        """Tokens (N,) that a run of each input needs: its own where padding changes nothing but rounding, else all."""
        whole = 0 if self.inputs.mask is None else self.inputs.mask.shape[1]
        if not padding_is_idle(self.adapter, self.site, self.inputs, self.outcome):
            return np.full(len(self.inputs), whole)
        return np.asarray(self.inputs.lengths)

    def reconstructed(self, rows: Rows, noise: NDArray[np.float32] | None = None) -> Array:
        """Outcomes (N, O) where the autoencoder's reconstruction takes the site's place at every token of its inputs.

        Parameters
        ----------
        noise : ndarray (N, C, width), optional
            As in `run`.
        """
        sae = self.sae
        assert isinstance(sae, SparseAutoencoder)
        inputs, outcome = self.inputs.take(rows), self.outcome.take(rows)
        write: dict[str, Edit] = {}
        if noise is not None:
            inputs, write = self._noisy(inputs, noise)
        own = None if inputs.mask is None else MEAN_OF_TOKENS.at(inputs.mask).selected.unsqueeze(-1)

        def edit(h: torch.Tensor) -> torch.Tensor:
            made = sae.decode(sae.encode(h.float()), h.float()).to(h.dtype)
            return made if own is None else torch.where(own, made, h)

        with torch.inference_mode():
            result = self.adapter.run(inputs.tensors, write=write | {self.site: edit})
        return outcome.values(self.adapter, inputs, result.output, write, None)

    def activation(self, rows: Rows, tokens: int | None = None) -> torch.Tensor | None:
        """Activation to start edited runs of these rows from; None where a run that starts there does
        not equal a full run bit for bit. ``tokens`` as in `run`."""
        if self._resumption is None or self.outcome.generated:
            return None
        return self._resumption.activation(self._taken(rows, tokens), self.outcome.take(rows))

    def token_activations(self, rows: Rows, site: str | None = None) -> torch.Tensor:
        """Activations (tokens, width) of the site, or of another one, at all tokens of these inputs."""
        inputs, site = self.inputs.take(rows), site or self.site
        with torch.inference_mode():
            run = self.adapter.run(inputs.tensors, read=[site])
            return self._activation(run.activations[site], inputs, site).every_token()

    def each_written(self, view: TokenFeatureView, write: Array, rows: Rows) -> Array:
        """Read-back (F, G): mean change of a view's F features when each of G vectors is written.

        Parameters
        ----------
        write : ndarray (G, width)
        """
        encoded = (1 if self.inputs.mask is None else self.inputs.mask.shape[1]) * (
            1 if self.sae is None else self.sae.latents
        )
        parts = []
        with torch.inference_mode():
            for block in row_blocks(len(rows), COPIES * encoded):
                inputs = self.inputs.take(rows[block])
                run = self.adapter.run(inputs.tensors, read=[self.view_site])
                site = self._viewed(run.activations, inputs)
                parts.append((site, site.read(view)))
            steps = torch.from_numpy(np.ascontiguousarray(write)).to(parts[0][1].device)
            steps = self.adapter.padded(steps) if isinstance(self.adapter, PairedSites) else steps
            moved = [
                torch.cat([site.shifted(step).read(view) - before for site, before in parts]).mean(0)
                for step in steps
            ]
        return _numpy(torch.stack(moved, 1))

    def gradient(
        self,
        rows: Rows | None = None,
        outcomes: NDArray[np.int_] | None = None,
        tokens: int | None = None,
    ) -> Array:
        """Gradient of outcomes by a shift of the site wherever features are read, (N, O, width).

        The directional derivative along a feature's write direction is its product with it.

        Parameters
        ----------
        outcomes : ndarray of int, optional
            Which outcomes; default all.
        tokens : int, optional
            As in `run`.

        Raises
        ------
        InputError
            For a network that changes in place what its gradient needs.
        """
        rows = np.arange(len(self.inputs)) if rows is None else rows
        inputs, outcome = self._taken(rows, tokens), self.outcome.take(rows)
        box: dict[str, torch.Tensor] = {}

        def open_leaf(h: torch.Tensor) -> torch.Tensor:
            box["h"] = h.detach().clone().requires_grad_(True)
            return box["h"]

        with torch.enable_grad():
            result = self.adapter.run(inputs.tensors, write={self.site: open_leaf})
            y = outcome.differentiable(result.output, inputs.mask_or_ones)
            chosen = np.arange(y.shape[1]) if outcomes is None else outcomes
            parts = []
            for o in chosen.tolist():
                try:
                    (g,) = torch.autograd.grad(y[:, o].sum(), box["h"], retain_graph=True)
                except RuntimeError as e:
                    if "inplace operation" not in str(e):
                        raise
                    raise InputError(
                        f"gradient at {self.site!r}", CHANGED_IN_PLACE, "Leave the gradient out"
                    ) from None
                parts.append(self._activation(g, inputs).total())
        return _numpy(torch.stack(parts, 1))

    @cached_property
    def _resumption(self) -> Resumption | None:
        return Resumption.before(self.adapter, self.view_site)

    def _taken(self, rows: Rows, tokens: int | None) -> ModelInputs:
        inputs = self.inputs.take(rows)
        return inputs if tokens is None else inputs.first_tokens(tokens)

    def _activation(self, h: torch.Tensor, inputs: ModelInputs, site: str | None = None) -> TokenActivation:
        return token_activation(h, inputs, self.position, site or self.site, self.outcome.new_tokens)

    def _viewed(self, held: Mapping[str, torch.Tensor], inputs: ModelInputs) -> TokenActivation:
        return self._activation(held[self.view_site], inputs, self.view_site)

    def _parts(self, site: TokenActivation) -> dict[str, Array]:
        parts = {"mean": _numpy(site.mean()), "position": _numpy(site.deviations())}
        if isinstance(self.sae, SparseAutoencoder):
            parts["error"] = _numpy(site.read(ReconstructionError(self.sae, site.width)))
        return parts

    def _noisy(self, inputs: ModelInputs, noise: NDArray[np.float32]) -> tuple[ModelInputs, dict[str, Edit]]:
        """The inputs with noise on them, or the edit that adds it to their embedding."""
        if self.noise_at is not None:
            return self.noise_at.added(inputs, noise, self.embedding)
        if self.embedding is None or inputs.classes is None:
            raise InputError("noise", "inputs without a word embedding", "Perturb the input arrays instead")
        drawn = torch.from_numpy(np.ascontiguousarray(noise)).to(inputs.classes.device)
        return inputs, {self.embedding: _add_per_class(drawn, inputs.classes)}

    def _shift(self, step: torch.Tensor, inputs: ModelInputs) -> Edit:
        def edit(h: torch.Tensor) -> torch.Tensor:
            return self._activation(h, inputs).shifted(step.to(h.device)).restored()

        return edit


def _add_per_class(noise: torch.Tensor, classes: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    count = noise.shape[1]

    def edit(embedded: torch.Tensor) -> torch.Tensor:
        # Generated tokens come after the input's own: they, padding and continuations get no noise.
        index = torch.nn.functional.pad(classes, (0, embedded.shape[1] - classes.shape[1]), value=-1)
        noisy = (index >= 0) & (index < count)
        place = torch.where(noisy, index, 0)[:, :, None].expand(-1, -1, noise.shape[-1])
        per_token = torch.gather(noise, 1, place) * noisy[:, :, None]
        return embedded + per_token.to(embedded.dtype)

    return edit


def _numpy(value: torch.Tensor) -> Array:
    return np.asarray(value.detach().double().cpu().numpy())
