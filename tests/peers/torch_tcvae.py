"""The beta-TCVAE training step as one would write it in PyTorch: eager, default memory format.

The peer of ``bin/benchmark --peer tests/peers/torch_tcvae.py``; same network, loss, augmentation and optimizer as the
default config, data set resident as uint8.
"""

import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Encoder(nn.Module):
    def __init__(self, image_size, channels, filters, hidden, latents):
        super().__init__()
        widths = [channels, *filters]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1) for i in range(len(filters))
        )
        grid = image_size // 2 ** len(filters)
        self.hidden = nn.Linear(grid * grid * filters[-1], hidden)
        self.mean, self.logvar = nn.Linear(hidden, latents), nn.Linear(hidden, latents)

    def forward(self, x):
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        x = functional.relu(self.hidden(x.flatten(1)))
        return self.mean(x), self.logvar(x)


class Decoder(nn.Module):
    def __init__(self, image_size, channels, filters, hidden, latents):
        super().__init__()
        self.shape = (filters[-1], image_size // 2 ** len(filters), image_size // 2 ** len(filters))
        self.hidden, self.grid = nn.Linear(latents, hidden), nn.Linear(hidden, math.prod(self.shape))
        widths = [channels, *filters]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i + 1], widths[i], 3, padding=1) for i in reversed(range(len(filters)))
        )

    def forward(self, z):
        x = functional.relu(self.grid(functional.relu(self.hidden(z)))).unflatten(1, self.shape)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(functional.interpolate(x, scale_factor=2, mode="nearest"))
            x = functional.relu(x) if i + 1 < len(self.convolutions) else x
        return x


def log_normal(z, mean, logvar):
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mean) ** 2 * torch.exp(-logvar))


def loss_of(encoder, decoder, x, model, num_examples):
    mean, logvar = encoder(x)
    z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
    reconstruction = ((x - torch.sigmoid(decoder(z))) ** 2).flatten(1).sum(1).mean() / (2 * model["scale"] ** 2)
    pairwise = log_normal(z[:, None], mean[None], logvar[None])
    constant = math.log(len(x) * num_examples)
    log_qz = torch.logsumexp(pairwise.sum(2), 1) - constant
    log_product = (torch.logsumexp(pairwise, 1) - constant).sum(1)
    log_qz_given_x = log_normal(z, mean, logvar).sum(1)
    log_pz = log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    penalty = (
        model["alpha"] * (log_qz_given_x - log_qz)
        + model["beta"] * (log_qz - log_product)
        + model["gamma"] * (log_product - log_pz)
    )
    return reconstruction + penalty.mean()


def augmented(images, batch_size):
    x = images[torch.randint(len(images), (batch_size,))].float() / 255
    for dims in ((2,), (3,)):
        x = torch.where(torch.rand(batch_size, 1, 1, 1) < 0.5, x.flip(dims), x)
    return torch.where(torch.rand(batch_size, 1, 1, 1) < 0.5, x.transpose(2, 3), x)


def trainer(images, batch_size, model, learning_rate):
    """(N, H, W, C) uint8 -> function that trains for some steps and returns the images a second."""
    images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    sizes = (images.shape[2], images.shape[1], list(model["filters"]), model["hidden"], model["latents"])
    encoder, decoder = Encoder(*sizes), Decoder(*sizes)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=learning_rate)

    def train(num_steps):
        start = time.perf_counter()
        for _ in range(num_steps):
            loss = loss_of(encoder, decoder, augmented(images, batch_size), model, len(images))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return num_steps * batch_size / (time.perf_counter() - start)

    return train
