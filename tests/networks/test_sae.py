"""Sparse autoencoders: the folder format, the formulas, edits through the decoder, training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.features import _latents
from mrinterp.features._feature_view import read_back
from mrinterp.features._latents import Latents, ReconstructionError, reconstruction_report
from mrinterp.features._sae import ARCHITECTURES, SparseAutoencoder
from mrinterp.features._sae_folder import read_sae, write_sae
from mrinterp.positions import AllTokens, LastToken, MaxOfTokens, MeanOfTokens, TokenIndex
from mrinterp.scan import _dictionary

WIDTH, LATENTS = 6, 15
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _weights(architecture: str, seed: int = 0) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (WIDTH, LATENTS), "W_dec": (LATENTS, WIDTH), "b_dec": (WIDTH,)}
    made = {n: torch.randn(shapes.get(n, (LATENTS,)), generator=g) for n in ARCHITECTURES[architecture]}
    if "threshold" in made:
        made["threshold"] = made["threshold"].abs()
    return made


def _save(folder: Path, config: dict[str, Any], weights: dict[str, Any]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(weights, folder / "sae_weights.safetensors")
    return folder


def _sae(architecture: str = "topk", **options: Any) -> SparseAutoencoder:
    return SparseAutoencoder(
        architecture, _weights(architecture), 4 if architecture == "topk" else None, **options
    )


def _latents_by_hand(architecture: str, w: dict[str, Any], x: Any, k: int = 4) -> Any:
    """One token and one latent at a time, in plain numpy."""
    W = {n: v.numpy().astype(float) for n, v in w.items()}
    out = np.zeros((len(x), LATENTS))
    for n in range(len(x)):
        before = np.array(
            [sum((x[n, i] - W["b_dec"][i]) * W["W_enc"][i, j] for i in range(WIDTH)) for j in range(LATENTS)]
        )
        if architecture == "gated":
            for j in range(LATENTS):
                size = before[j] * np.exp(W["r_mag"][j]) + W["b_mag"][j]
                out[n, j] = max(size, 0) if before[j] + W["b_gate"][j] > 0 else 0
            continue
        before = before + W["b_enc"]
        kept = set(np.argsort(before)[-k:]) if architecture == "topk" else set(range(LATENTS))
        for j in range(LATENTS):
            floor = W["threshold"][j] if architecture == "jumprelu" else 0
            out[n, j] = before[j] if j in kept and before[j] > max(floor, 0) else 0
    return out


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_formulas_and_folder(architecture: str, tmp_path: Path) -> None:
    weights = _weights(architecture)
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": WIDTH,
        "d_sae": LATENTS,
        "normalize_activations": "none",
    }
    if architecture == "topk":
        config["k"] = 4
    sae = read_sae(_save(tmp_path / "sae", config, weights), WIDTH)
    x = np.random.default_rng(0).standard_normal((7, WIDTH))
    latents = sae.encode(torch.from_numpy(x))
    by_hand = _latents_by_hand(architecture, weights, x)
    np.testing.assert_allclose(latents.numpy(), by_hand, rtol=1e-6, atol=1e-9)
    assert 0 < (by_hand != 0).mean() < 1
    expected = by_hand @ weights["W_dec"].numpy() + weights["b_dec"].numpy()
    np.testing.assert_allclose(sae.decode(latents).numpy(), expected, rtol=1e-6, atol=1e-9)
    write_sae(sae, tmp_path / "again", hook_name="blocks.0")
    again = read_sae(tmp_path / "again")
    assert torch.equal(again.encode(torch.from_numpy(x)), latents)
    assert again.settings["metadata"] == {"hook_name": "blocks.0"}


def test_older_layout_of_top_k(tmp_path: Path) -> None:
    config = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 3},
        "normalize_activations": False,
        "apply_b_dec_to_input": False,
    }
    sae = read_sae(_save(tmp_path / "sae", config, _weights("topk")))
    assert (sae.architecture, sae.k, sae.apply_b_dec_to_input) == ("topk", 3, False)
    assert int((sae.encode(torch.randn(9, WIDTH)) != 0).sum(-1).max()) <= 3


def test_decoder_bias_is_subtracted_only_where_asked() -> None:
    x = torch.randn(5, WIDTH)
    with_bias, without = _sae("standard"), _sae("standard", apply_b_dec_to_input=False)
    torch.testing.assert_close(without.encode(x - without.weights["b_dec"]), with_bias.encode(x))
    assert not torch.allclose(without.encode(x), with_bias.encode(x))


def test_latents_scaled_by_decoder_length_reconstruct_the_same() -> None:
    weights = _weights("topk")
    plain = SparseAutoencoder("topk", weights, LATENTS)
    scaled = SparseAutoencoder("topk", weights, LATENTS, rescale_by_decoder_norm=True)
    x = torch.randn(5, WIDTH)
    torch.testing.assert_close(scaled.encode(x), plain.encode(x) * weights["W_dec"].norm(dim=-1))
    torch.testing.assert_close(scaled.decode(scaled.encode(x)), plain.decode(plain.encode(x)))


@pytest.mark.parametrize("normalization", ["layer_norm", "constant_norm_rescale"])
def test_normalized_activations_scale_with_their_input(normalization: str) -> None:
    sae = _sae("standard", normalize_activations=normalization)
    x = torch.randn(5, WIDTH, dtype=torch.float64)
    moved = 3 * x + (2 if normalization == "layer_norm" else 0)
    torch.testing.assert_close(sae.encode(moved), sae.encode(x), rtol=1e-3, atol=1e-3)
    out = sae.decode(sae.encode(x), x)
    expected = 3 * out + (2 if normalization == "layer_norm" else 0)
    torch.testing.assert_close(sae.decode(sae.encode(moved), moved), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="like="):
        sae.decode(sae.encode(x))


class _Foreign:
    """An autoencoder of somebody else's."""

    def encode(self, x: Any) -> Any:
        return torch.cat([x.relu(), (-x).relu()], -1)

    def decode(self, latents: Any) -> Any:
        return latents[..., :WIDTH] - latents[..., WIDTH:]


def _autoencoders() -> dict[str, Any]:
    made: dict[str, Any] = {a: _sae(a) for a in ARCHITECTURES}
    made["normalized"] = _sae("standard", normalize_activations="layer_norm")
    return made | {"foreign": _Foreign()}


@pytest.fixture
def h() -> Any:
    return torch.randn(3, 4, WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", sorted(_autoencoders()))
@pytest.mark.parametrize("position", [MeanOfTokens(), LastToken(), TokenIndex(0), AllTokens()], ids=str)
def test_identity_edit_is_exact_and_the_error_is_kept(kind: str, position: Any, h: Any) -> None:
    sae, positions = _autoencoders()[kind], position.at(MASK)
    view = Latents(sae, WIDTH, [2, 0, 5])
    values = view.read(h, positions)
    assert torch.equal(view.write(h, values, positions), h)
    edited = view.write(h, values + 1, positions)
    before = sae.encode(h)
    after = before.clone()
    after[..., [2, 0, 5]] += 1
    decode = (lambda f: sae.decode(f, h)) if kind == "normalized" else sae.decode
    expected = h - decode(before) + decode(after)
    torch.testing.assert_close(
        edited, torch.where(positions.selected[..., None], expected, h), rtol=1e-4, atol=1e-5
    )
    assert not torch.equal(edited, h)


def test_read_back_is_exact_where_the_encoder_inverts_the_decoder(h: Any) -> None:
    view, positions = Latents(_Foreign(), WIDTH, [0, WIDTH]), TokenIndex(1).at(MASK)
    wanted = torch.tensor([[1.5, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert float(read_back(view, h, wanted, positions).max()) < 1e-6
    overlapping = Latents(_sae("standard"), WIDTH)
    error = read_back(overlapping, h, overlapping.read(h, positions) + 1, positions)
    assert float(error.max()) > 0.1, "overlapping latents cannot be written one by one, and that is said"


def test_reconstruction_and_error_complete_the_site(h: Any) -> None:
    sae, positions = _sae("gated"), MeanOfTokens().at(MASK)
    error = ReconstructionError(sae, WIDTH)
    weight = positions.weights.float().unsqueeze(-1)
    reconstruction = (sae.decode(sae.encode(h)) * weight).sum(1)
    torch.testing.assert_close(error.read(h, positions) + reconstruction, (h * weight).sum(1))
    assert torch.equal(error.write(h, error.read(h, positions), positions), h)
    with pytest.raises(InputError, match="maximum"):
        error.write(h, error.read(h, positions), MaxOfTokens().at(MASK))


def test_report_counts_dead_latents_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = _weights("standard")
    weights["b_enc"][[1, 7]] = -1e4
    x = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(0))
    report = reconstruction_report(SparseAutoencoder("standard", weights), x)
    assert report.dead == (1, 7)
    assert report.dead_fraction == pytest.approx(2 / LATENTS)
    monkeypatch.setattr(_latents, "AT_ONCE", 7 * LATENTS)
    in_blocks = reconstruction_report(SparseAutoencoder("standard", weights), x)
    assert (in_blocks.dead, in_blocks.active) == (report.dead, report.active)
    assert in_blocks.explained_variance == pytest.approx(report.explained_variance, rel=1e-6)
    perfect = reconstruction_report(_Foreign(), x)
    assert perfect.explained_variance == pytest.approx(1)
    assert perfect.active == pytest.approx(WIDTH)
    assert "100.0% of the variance" in str(perfect)
    assert report.explained_variance < perfect.explained_variance
    tokens = x.reshape(50, 4, WIDTH)
    mask = torch.ones(50, 4)
    mask[:, 2:] = 0
    assert reconstruction_report(_Foreign(), tokens, MeanOfTokens().at(mask)).tokens == 100


def test_a_width_that_does_not_match_is_refused(tmp_path: Path) -> None:
    write_sae(_sae(), tmp_path / "sae")
    with pytest.raises(InputError, match=r"width 6; the site has 8"):
        read_sae(tmp_path / "sae", 8)
    with pytest.raises(InputError, match="width 6; the site has 8"):
        Latents(_sae(), 8)
    with pytest.raises(InputError, match="width"):
        Latents(_Foreign(), 8)
    with pytest.raises(InputError, match="latent 15: the SAE has 15"):
        Latents(_sae(), WIDTH, [LATENTS])
    with pytest.raises(InputError, match="no method encode"):
        Latents(object(), WIDTH)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "transcoder"}, "'transcoder'"),
        ({"normalize_activations": "expected_average_only_in"}, "Fold the scaling"),
        ({"normalize_activations": "batch"}, "'batch'"),
        ({"activation_fn": "tanh-relu"}, "tanh-relu"),
        ({"d_in": 5}, "d_in is 5, the weights say 6"),
        ({"architecture": "topk"}, "k"),
        ({"architecture": "gated"}, r"missing \['b_gate', 'b_mag', 'r_mag'\]"),
        ({"architecture": "topk", "k": 99}, "99 of 15"),
    ],
)
def test_settings_that_are_not_supported_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = _save(
        tmp_path / "sae", {"architecture": "standard", "d_in": WIDTH, **changes}, _weights("standard")
    )
    with pytest.raises(InputError, match=message):
        read_sae(folder)


def test_damaged_folders_are_refused_and_pickles_never_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_sae(tmp_path)
    (tmp_path / "cfg.json").write_text("{}")
    (tmp_path / "sae_weights.pt").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(InputError, match=r"sae_weights\.pt is a pickle and is never opened"):
        read_sae(tmp_path)
    (tmp_path / "sae_weights.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="cannot be read"):
        read_sae(tmp_path)


def _sparse_rows(rows: int = 3000, seed: int = 0) -> tuple[Any, Any]:
    """Activations made of two out of ten directions each, and the directions."""
    g = torch.Generator().manual_seed(seed)
    directions = torch.randn(10, 8, generator=g)
    directions /= directions.norm(dim=1, keepdim=True)
    on = torch.rand(rows, 10, generator=g).argsort(1) < 2
    return (on * (1 + torch.rand(rows, 10, generator=g))) @ directions + 3, directions


class TestTraining:
    def test_same_seed_same_bytes(self, tmp_path: Path) -> None:
        from mrinterp.core.storage import digest_files
        from mrinterp.features._train_sae import train_topk_sae

        x, _ = _sparse_rows(400)
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            train_topk_sae(x, 20, 2, steps=30, seed=seed, folder=tmp_path / name, site="layer.1")
        a, b, c = (digest_files(tmp_path / n, ["sae_weights.safetensors", "cfg.json"]) for n in "abc")
        assert a == b != c

    def test_learns_a_sparse_world(self, tmp_path: Path) -> None:
        from mrinterp.features._train_sae import train_topk_sae

        x, directions = _sparse_rows()
        trained = train_topk_sae(5 * x, 16, 2, steps=1500, seed=0, folder=tmp_path / "sae", site="layer.1")
        assert trained.explained_variance > 0.9
        assert trained.dead_fraction < 0.5
        assert trained.losses[-50:].mean() < 0.3 * trained.losses[:20].mean()
        found = (trained.sae.weights["W_dec"] @ directions.T).max(0).values
        assert int((found > 0.95).sum()) >= 8
        reopened = read_sae(tmp_path / "sae", 8)
        assert torch.equal(reopened.encode(5 * x[:9]), trained.sae.encode(5 * x[:9]))
        assert reopened.settings["metadata"]["hook_name"] == "layer.1"
        assert f"{trained.explained_variance:.1%}" in str(trained)

    def test_loss_recovered_on_a_network(self) -> None:
        from mrinterp.adapters._torch_module import TorchAdapter
        from mrinterp.features._train_sae import loss_recovered, site_activations, train_topk_sae
        from mrinterp.results._check import NotApplicable

        class _Mean:
            names = ("mean",)

            def __call__(self, output: Any, mask: Any) -> Any:
                return output.mean(1, keepdim=True)

        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
        adapter, (x, _) = TorchAdapter(net), _sparse_rows(800)
        h = site_activations(adapter, "1", [({"input": x[:500]}, None), ({"input": x[500:]}, None)])
        assert h.shape == (800, 8)
        trained = train_topk_sae(h, 24, 6, steps=300)
        good = loss_recovered(trained.sae, adapter, "1", {"input": x}, _Mean())
        assert isinstance(good, np.ndarray)
        assert good == pytest.approx(1, abs=0.05)
        nothing = SparseAutoencoder(
            "topk", {k: torch.zeros_like(v) for k, v in trained.sae.weights.items()}, 6
        )
        assert loss_recovered(nothing, adapter, "1", {"input": x}, _Mean()) == pytest.approx(0, abs=1e-6)
        dark = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)).eval()
        torch.nn.init.zeros_(dark[1].weight)
        assert isinstance(
            loss_recovered(nothing, TorchAdapter(dark), "0", {"input": x}, _Mean()), NotApplicable
        )

    @pytest.mark.parametrize(
        ("rows", "k", "message"),
        [
            (torch.zeros(10, 3), 1, "at least 20 rows"),
            (torch.zeros(50, 3), 1, "all rows alike"),
            (torch.full((50, 3), torch.nan), 1, "not finite"),
            (torch.randn(50, 3), 9, "9 of 8 latents"),
        ],
    )
    def test_bad_activations_are_refused(self, rows: Any, k: int, message: str) -> None:
        from mrinterp.features._train_sae import train_topk_sae

        with pytest.raises(InputError, match=message):
            train_topk_sae(rows, 8, k)


@pytest.mark.parametrize("normalization", ["none", "layer_norm"])
def test_what_a_latent_adds_does_not_depend_on_how_many_are_written_at_once(
    normalization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = _sae(normalize_activations=normalization)
    tokens = torch.randn(40, sae.width)
    network: Any = SimpleNamespace(sae=sae, token_activations=lambda rows: tokens)
    latents = (5, 0, 3, 2, 6, 4, 1)
    whole = _dictionary._decoder_rows(network, latents, np.arange(4))
    if normalization == "none":
        np.testing.assert_allclose(
            whole, sae.weights["W_dec"][list(latents)].double(), rtol=1e-12, atol=1e-15
        )
    monkeypatch.setattr(_dictionary, "UNITS", 3 * sae.latents)
    np.testing.assert_allclose(
        _dictionary._decoder_rows(network, latents, np.arange(4)), whole, rtol=1e-12, atol=1e-15
    )
