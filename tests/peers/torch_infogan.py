"""The InfoGAN's training step of two players as one would write it in PyTorch: eager, default memory format.

The peer of ``bin/benchmark --peer tests/peers/torch_infogan.py`` with configs/infogan_cytometry.py; same networks,
losses, regularizer, augmentation and optimizers, data set resident. Channels last was no faster: .50 s a step of
100 images on one core, .44 s in the default format.
"""

import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HALF_WIDTH = math.sqrt(3)
MIN_LOGVAR = -6.0


class Discriminator(nn.Module):
    def __init__(self, image_shape, model):
        super().__init__()
        height, width, channels = image_shape
        filters, layers = list(model["filters"]), []
        for i, (before, after) in enumerate(zip([channels, *filters], filters, strict=False)):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=i == 0))
            layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)] if i else [nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = filters[-1] * (height // 2 ** len(filters)) * (width // 2 ** len(filters))
        self.critic, self.dropout = nn.Linear(features, 1), nn.Dropout(model["dropout"])
        self.mean, self.logvar = nn.Linear(features, model["latents"]), nn.Linear(features, model["latents"])
        self.categories = nn.ModuleList(nn.Linear(features, values) for values in model["categories"])

    def forward(self, x):
        y = self.body(x)
        logits, y = self.critic(y)[:, 0], self.dropout(y)
        logvar = MIN_LOGVAR + functional.softplus(self.logvar(y) - MIN_LOGVAR)
        return logits, self.mean(y), logvar, [layer(y) for layer in self.categories]


class Generator(nn.Module):
    def __init__(self, image_shape, model):
        super().__init__()
        height, width, channels = image_shape
        filters = list(model["filters"])
        self.sizes = [(height // 2**i, width // 2**i) for i in range(len(filters) + 1)]
        inputs = model["latents"] + sum(model["categories"]) + model["noise"]
        self.grid = nn.Linear(inputs, math.prod(self.sizes[-1]) * filters[-1], bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in reversed(filters))
        widths = [channels, *filters]
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], 4, stride=2, padding=1, bias=i == 0)
            for i in reversed(range(len(filters)))
        )
        self.filters, self.grain, self.one_length = filters, model.get("grain"), model.get("one_length")
        nn.init.constant_(self.convolutions[-1].bias, math.log(model["background"] / (1 - model["background"])))

    def forward(self, z):
        if self.one_length:
            z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-4)
        x = self.grid(z).unflatten(1, (self.filters[-1], *self.sizes[-1]))
        for norm, convolution, size in zip(self.norms, self.convolutions, reversed(self.sizes[:-1]), strict=True):
            x = convolution(functional.relu(norm(x)), output_size=size)
        x = torch.sigmoid(x)
        if not self.grain:
            return x
        dark, light = self.grain
        return (x + (dark + light * x) * torch.randn_like(x)).clamp(0, 1)


def drawn(batch_size, model):
    codes = HALF_WIDTH * (2 * torch.rand(batch_size, model["latents"]) - 1)
    categories = [
        functional.one_hot(torch.randint(values, (batch_size,)), values).float() for values in model["categories"]
    ]
    return codes, categories, torch.randn(batch_size, model["noise"])


def joined(codes, categories, noise):
    return torch.cat([codes, *categories, noise], dim=1)


def information(codes, categories, reading):
    _, mean, logvar, logits = reading
    log_q = -0.5 * (math.log(2 * math.pi) + logvar + (codes - mean) ** 2 * torch.exp(-logvar))
    bound = (log_q + math.log(2 * HALF_WIDTH)).sum(1)
    for one_hot, own in zip(categories, logits, strict=True):
        bound = bound + (one_hot * functional.log_softmax(own, 1)).sum(1) + math.log(own.shape[1])
    return bound.mean()


def penalty(logits, x, real):
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return (torch.sigmoid(-logits if real else logits) ** 2 * gradient.square().sum((1, 2, 3))).mean()


def left(model, step):
    return min(step / model["anneal_steps"], 1.0) if model["anneal_steps"] else 0.0


def shown(x, model, step):
    noise = model["instance_noise"] * (1 - left(model, step))
    return x + noise * torch.randn_like(x) if noise else x


def discriminator_loss(discriminator, real, fake, codes, categories, model, step):
    real, fake = (x.detach().requires_grad_(bool(model["gamma"])) for x in (real, fake))
    of_real, of_fake = discriminator(real), discriminator(fake)
    loss = functional.softplus(-of_real[0]).mean() + functional.softplus(of_fake[0]).mean()
    loss = loss - model["information"] * information(codes, categories, of_fake)
    if model["gamma"]:
        gamma = model["gamma"] * model["gamma_end"] ** left(model, step)
        loss = loss + 0.5 * gamma * (penalty(of_real[0], real, True) + penalty(of_fake[0], fake, False))
    return loss


def generator_loss(discriminator, fake, codes, categories, model):
    reading = discriminator(fake)
    return functional.softplus(-reading[0]).mean() - model["information"] * information(codes, categories, reading)


def augmented(images, batch_size, largest):
    x = images[torch.randint(len(images), (batch_size,))].float() / largest
    for dims in ((2,), (3,)):
        x = torch.where(torch.rand(batch_size, 1, 1, 1) < 0.5, x.flip(dims), x)
    return torch.where(torch.rand(batch_size, 1, 1, 1) < 0.5, x.transpose(2, 3), x)


def update(optimizer, loss, parameters):
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)
    optimizer.step()


def trainer(images, batch_size, model, learning_rate):
    """(N, H, W, C) uint8 or uint16 -> function that trains for some steps and returns the images a second."""
    largest, shape = np.iinfo(images.dtype).max, images.shape[1:]
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.int32))
    discriminator, generator = Discriminator(shape, model), Generator(shape, model)
    parameters = [list(player.parameters()) for player in (discriminator, generator)]
    optimizers = [torch.optim.Adam(own, lr=learning_rate, betas=(0.5, 0.999)) for own in parameters]
    done = 0

    def train(num_steps):
        nonlocal done
        start = time.perf_counter()
        for _ in range(num_steps):
            real, codes = augmented(images, batch_size, largest), drawn(batch_size, model)
            with torch.no_grad():
                fake = generator(joined(*codes))
            both = [shown(x, model, done) for x in (real, fake)]
            loss = discriminator_loss(discriminator, *both, *codes[:2], model, done)
            update(optimizers[0], loss, parameters[0])
            codes = drawn(batch_size, model)
            fake = shown(generator(joined(*codes)), model, done)
            update(optimizers[1], generator_loss(discriminator, fake, *codes[:2], model), parameters[1])
            done += 1
        return num_steps * batch_size / (time.perf_counter() - start)

    return train
