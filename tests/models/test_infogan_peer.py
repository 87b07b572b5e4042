"""The InfoGAN against the same in PyTorch: what it draws, its players' losses and their gradients, from one start."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellfx.models.infogan import infogan
from cellfx.nn.dcgan import Outwards
from cellfx.nn.infogan import Discriminator, Networks
from cellfx.types import Spec

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'cellfx[torch]' brings the peer")

_SPEC = importlib.util.spec_from_file_location(
    "torch_infogan", Path(__file__).parents[1] / "peers" / "torch_infogan.py"
)
peer = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(peer)

SHAPE, BATCH_SIZE, STEP = (9, 8, 2), 6, 4
MODEL = {"latents": 3, "categories": (3,), "noise": 2, "filters": (4, 6), "dropout": 0.0, "background": 0.3}
MODEL |= {"information": 0.7, "gamma": 3.0, "gamma_end": 0.04, "anneal_steps": 10, "instance_noise": 0.0}


def outside(x):
    """(B, H, W, C) -> what PyTorch takes."""
    return torch.from_numpy(np.array(x).transpose(0, 3, 1, 2))


def copy(layer, own, axes=None):
    """Puts parameters of a Flax layer into one of PyTorch."""
    weight = np.array(own.get("kernel", own.get("scale")))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.transpose(axes) if axes else weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(own["bias"])))


def by_channel(kernel, size):
    """Rows (H W C, O) in the order (C H W, O)."""
    rows, columns = size
    return np.array(kernel).reshape(rows, columns, -1, kernel.shape[1]).transpose(2, 0, 1, 3).reshape(kernel.shape)


def players(params, model):
    """The peer's two networks with these parameters."""
    discriminator, generator = peer.Discriminator(SHAPE, model), peer.Generator(SHAPE, model)
    own, drawing = params["discriminator"], params["generator"]
    layers = [layer for layer in discriminator.body if hasattr(layer, "weight")]
    for name, layer in zip(("conv0", "conv1", "conv1_norm"), layers, strict=True):
        copy(layer, own["body"][name], None if "norm" in name else (3, 2, 0, 1))
    heads = {"critic": discriminator.critic, "mean": discriminator.mean, "logvar": discriminator.logvar}
    for name, layer in {**heads, "category0": discriminator.categories[0]}.items():
        copy(layer, {**own[name], "kernel": by_channel(own[name]["kernel"], generator.sizes[-1])}, (1, 0))
    copy(generator.grid, {"kernel": by_channel(drawing["grid"]["kernel"].T, generator.sizes[-1])})
    for name, layer in zip(("grid_norm", "conv1_norm"), generator.norms, strict=True):
        copy(layer, drawing[name])
    for name, layer in zip(("conv1", "conv0"), generator.convolutions, strict=True):
        copy(layer, drawing[name], (3, 2, 0, 1))
    return discriminator, generator


def test_losses_and_gradients_equal_those_of_pytorch():
    model = infogan(Spec(SHAPE, 0, 40), **MODEL)
    params, extra = model.init(jax.random.key(0))
    reader = Discriminator(MODEL["filters"], 3, (3,), 0.0, 0.9, None)
    networks = Networks(Outwards(MODEL["filters"], SHAPE, 0.9, None), reader, MODEL["noise"], False)
    batch = {"x": jax.random.uniform(jax.random.key(7), (BATCH_SIZE, *SHAPE)), "mask": jnp.ones(BATCH_SIZE)}
    drawn = networks.draw(jax.random.split(jax.random.key(3), 5)[0], BATCH_SIZE, None)
    discriminator, generator = players(params, MODEL)
    codes = [torch.from_numpy(np.array(drawn.codes)), [torch.from_numpy(np.array(drawn.categories[0]))]]
    fake = generator(torch.from_numpy(np.array(drawn.joined())))
    expected, _ = networks.generate(params, extra, drawn.joined(), batch["mask"])
    np.testing.assert_allclose(fake.detach().numpy(), outside(expected).numpy(), rtol=1e-4, atol=1e-5)
    real, shown = (peer.shown(x, MODEL, STEP) for x in (outside(batch["x"]), fake))
    losses = {
        "discriminator": peer.discriminator_loss(discriminator, real, shown, *codes, MODEL, STEP),
        "generator": peer.generator_loss(discriminator, shown, *codes, MODEL),
    }
    compared = {
        "discriminator": (discriminator.body[0].weight, ("body", "conv0", "kernel"), (3, 2, 0, 1)),
        "generator": (generator.convolutions[0].weight, ("conv1", "kernel"), (3, 2, 0, 1)),
    }
    for player, loss in losses.items():
        own = lambda part, player=player: model.losses[player](  # noqa: E731
            {**params, player: part}, extra, batch, jax.random.key(3), jnp.int32(STEP), True
        )[0]
        value, gradient = jax.value_and_grad(own)(params[player])
        assert float(loss.detach()) == pytest.approx(float(value), rel=1e-4)
        weight, path, axes = compared[player]
        (found,) = torch.autograd.grad(loss, weight, retain_graph=True)
        for name in path:
            gradient = gradient[name]
        wanted = np.asarray(gradient).transpose(axes)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("shaping", [{}, {"grain": (0.01, 0.03), "one_length": True}])
def test_the_peer_trains_both_players(shaping):
    images = np.random.default_rng(0).integers(0, 65535, (40, 8, 8, 2), np.uint16)
    train = peer.trainer(images, 8, {**MODEL, **shaping, "dropout": 0.25, "instance_noise": 0.1}, 2e-4)
    assert train(2) > 0
