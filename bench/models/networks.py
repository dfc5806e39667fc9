"""Networks that export.py makes models of: families that torchvision and transformers lack."""
import torch
from torch import nn
from torch.nn import functional as F


class DLRM(nn.Module):
    """Recommendation: embeddings of categories and their products in pairs."""

    def __init__(self, tables=26, width=32):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(10000, width) for _ in range(tables)])
        self.bottom = nn.Sequential(nn.Linear(13, 512), nn.ReLU(), nn.Linear(512, width), nn.ReLU())
        pairs = (tables + 1) * tables // 2
        self.top = nn.Sequential(nn.Linear(pairs + width, 512), nn.ReLU(), nn.Linear(512, 1), nn.Sigmoid())
        self.register_buffer("pairs", torch.tril_indices(tables + 1, tables + 1, -1))

    def forward(self, dense, categories):
        x = self.bottom(dense)
        t = torch.stack([x] + [table(categories[:, i]) for i, table in enumerate(self.tables)], 1)
        products = (t @ t.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return self.top(torch.cat([x, products], 1))


class NBeats(nn.Module):
    """Forecasting: blocks that each explain a part of the series."""

    def __init__(self, blocks=8, length=96, ahead=24, width=256):
        super().__init__()
        hidden = lambda: nn.Sequential(nn.Linear(length, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.blocks = nn.ModuleList([nn.ModuleList([hidden(), nn.Linear(width, length), nn.Linear(width, ahead)]) for _ in range(blocks)])

    def forward(self, x):
        forecast = 0
        for hidden, back, ahead in self.blocks:
            h = hidden(x)
            x, forecast = x - back(h), forecast + ahead(h)
        return forecast


class TCN(nn.Module):
    """Causal convolutions over time, each wider dilated than the one before."""

    def __init__(self, blocks=6, width=64):
        super().__init__()
        conv = lambda channels, d: nn.Conv1d(channels, width, 3, padding=2 * d, dilation=d)
        first = lambda i: 25 if i == 0 else width
        self.blocks = nn.ModuleList([nn.ModuleList([conv(first(i), 2**i), conv(width, 2**i)]) for i in range(blocks)])
        self.widen, self.head = nn.Conv1d(25, width, 1), nn.Linear(width, 10)

    def forward(self, x):
        for i, (a, b) in enumerate(self.blocks):
            late = 2 * 2**i  # what the padding behind the series adds
            y = F.relu(b(F.relu(a(x)[:, :, :-late]))[:, :, :-late])
            x = F.relu(y + (self.widen(x) if i == 0 else x))
        return self.head(x.transpose(1, 2))


class ConvTasNet(nn.Module):
    """Separation of two speakers."""

    def __init__(self, basis=256, width=128, hidden=256):
        super().__init__()
        self.encode = nn.Conv1d(1, basis, 16, stride=8, bias=False)
        self.narrow = nn.Sequential(nn.GroupNorm(1, basis), nn.Conv1d(basis, width, 1))
        norm = lambda: [nn.PReLU(), nn.GroupNorm(1, hidden)]
        block = lambda d: nn.Sequential(nn.Conv1d(width, hidden, 1), *norm(), nn.Conv1d(hidden, hidden, 3, padding=d, dilation=d, groups=hidden), *norm())
        out = lambda: nn.Conv1d(hidden, width, 1)
        self.blocks = nn.ModuleList([nn.ModuleList([block(2**i), out(), out()]) for _ in range(2) for i in range(6)])
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(width, 2 * basis, 1), nn.Sigmoid())
        self.decode = nn.ConvTranspose1d(basis, 1, 16, stride=8, bias=False)

    def forward(self, x):
        e = F.relu(self.encode(x))
        y, skip = self.narrow(e), 0
        for block, residual, aside in self.blocks:
            h = block(y)
            y, skip = y + residual(h), skip + aside(h)
        n, basis, length = e.shape
        speakers = self.mask(skip).view(n, 2, basis, length) * e.unsqueeze(1)
        return self.decode(speakers.reshape(2 * n, basis, length)).view(n, 2, -1)


class UNet1D(nn.Module):
    """Denoising of a signal."""

    def __init__(self, widths=(32, 64, 128, 256)):
        super().__init__()
        conv = lambda a, b: [nn.Conv1d(a, b, 9, padding=4), nn.BatchNorm1d(b), nn.GELU()]
        block = lambda a, b: nn.Sequential(*conv(a, b), *conv(b, b))
        self.first = block(2, widths[0])
        self.down = nn.ModuleList([block(a, b) for a, b in zip(widths, widths[1:])])
        pairs = list(zip(widths, widths[1:]))[::-1]
        self.up = nn.ModuleList([nn.ModuleList([nn.ConvTranspose1d(b, a, 4, 2, 1), block(2 * a, a)]) for a, b in pairs])
        self.last = nn.Conv1d(widths[0], 2, 1)

    def forward(self, x):
        levels = [self.first(x)]
        for block in self.down:
            levels.append(block(F.max_pool1d(levels[-1], 2)))
        x = levels.pop()
        for widen, block in self.up:
            x = block(torch.cat([widen(x), levels.pop()], 1))
        return self.last(x)


class BiLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.LSTM(64, 128, 3, batch_first=True, bidirectional=True), nn.Linear(256, 20)

    def forward(self, x):
        return self.head(self.layers(x)[0]).log_softmax(-1)


class BiGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.GRU(40, 256, 2, batch_first=True, bidirectional=True), nn.Linear(512, 30)

    def forward(self, x):
        y, state = self.layers(x)
        return self.head(y), state


class CRNN(nn.Module):
    """Reading a line of text: convolutions, then LSTMs over the columns."""

    def __init__(self):
        super().__init__()
        conv = lambda a, b: [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        self.columns = nn.Sequential(*conv(1, 64), nn.MaxPool2d(2), *conv(64, 128), nn.MaxPool2d(2), *conv(128, 256), *conv(256, 256), nn.MaxPool2d((2, 1)),
                                     *conv(256, 512), nn.MaxPool2d((2, 1)), nn.Conv2d(512, 512, 2), nn.ReLU())
        self.layers, self.head = nn.LSTM(512, 256, 2, bidirectional=True), nn.Linear(512, 37)

    def forward(self, x):
        return self.head(self.layers(self.columns(x).squeeze(2).permute(2, 0, 1))[0]).log_softmax(2)


class DCGAN(nn.Module):
    """An image from noise, by transposed convolutions."""

    def __init__(self, width=64):
        super().__init__()
        widen = lambda a, b, *k: [nn.ConvTranspose2d(a, b, *k, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.layers = nn.Sequential(*widen(100, 8 * width, 4, 1, 0), *widen(8 * width, 4 * width, 4, 2, 1), *widen(4 * width, 2 * width, 4, 2, 1),
                                    *widen(2 * width, width, 4, 2, 1), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


class EDSR(nn.Module):
    """An image three times as large, by PixelShuffle over a bicubic one."""

    def __init__(self, width=64, blocks=4):
        super().__init__()
        conv = lambda a, b: nn.Conv2d(a, b, 3, padding=1)
        self.first, self.last = conv(3, width), nn.Sequential(conv(width, 27), nn.PixelShuffle(3))
        self.blocks = nn.ModuleList([nn.Sequential(conv(width, width), nn.PReLU(width), conv(width, width)) for _ in range(blocks)])

    def forward(self, x):
        y = h = self.first(x)
        for block in self.blocks:
            y = y + 0.1 * block(y)
        return self.last(y + h) + F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)


class Style(nn.Module):
    """Style transfer: reflected borders and instance normalization."""

    def __init__(self):
        super().__init__()
        conv = lambda a, b, k, stride=1: [nn.ReflectionPad2d(k // 2), nn.Conv2d(a, b, k, stride)]
        layer = lambda a, b, k, stride=1: [*conv(a, b, k, stride), nn.InstanceNorm2d(b, affine=True), nn.ReLU()]
        self.down = nn.Sequential(*layer(3, 32, 9), *layer(32, 64, 3, 2), *layer(64, 128, 3, 2))
        self.blocks = nn.ModuleList([nn.Sequential(*layer(128, 128, 3), *conv(128, 128, 3), nn.InstanceNorm2d(128, affine=True)) for _ in range(3)])
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), *layer(128, 64, 3), nn.Upsample(scale_factor=2), *layer(64, 32, 3), *conv(32, 3, 9))

    def forward(self, x):
        x = self.down(x)
        for block in self.blocks:
            x = x + block(x)
        return self.up(x)


class GraphNet(nn.Module):
    """Messages along the edges of a graph, added up at their ends."""

    def __init__(self, width=64, layers=3):
        super().__init__()
        self.embed, self.head = nn.Linear(16, width), nn.Linear(width, 1)
        self.layers = nn.ModuleList([nn.ModuleList([nn.Linear(2 * width, width), nn.Linear(2 * width, width), nn.LayerNorm(width)]) for _ in range(layers)])

    def forward(self, x, edges):
        x, (source, target) = self.embed(x), edges.unbind(0)
        for message, update, norm in self.layers:
            m = F.relu(message(torch.cat([x[source], x[target]], 1)))
            received = torch.zeros_like(x).scatter_add(0, target.unsqueeze(1).expand_as(m), m)
            x = norm(x + F.relu(update(torch.cat([x, received], 1))))
        return self.head(x)


class Experts(nn.Module):
    """A mixture of experts, of which all compute and two count."""

    def __init__(self, width=128, experts=8):
        super().__init__()
        self.gate = nn.Linear(width, experts)
        self.a = nn.Parameter(torch.randn(experts, width, 4 * width) * 0.05)
        self.b = nn.Parameter(torch.randn(experts, 4 * width, width) * 0.05)

    def forward(self, x):
        p = self.gate(x).softmax(-1)
        best, chosen = p.topk(2, -1)
        weights = torch.zeros_like(p).scatter(-1, chosen, best / best.sum(-1, keepdim=True))
        h = F.gelu(torch.einsum("td,edf->etf", x, self.a))
        return torch.einsum("etf,efd,te->td", h, self.b, weights)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale


class Rotary(nn.Module):
    """A causal transformer with rotary positions and gated products."""

    def __init__(self, width=256, heads=4, layers=4, hidden=688):
        super().__init__()
        self.heads = heads
        linear = lambda a, b: nn.Linear(a, b, bias=False)
        layer = lambda: nn.ModuleList([RMSNorm(width), linear(width, 3 * width), linear(width, width), RMSNorm(width), linear(width, 2 * hidden), linear(hidden, width)])
        self.layers = nn.ModuleList([layer() for _ in range(layers)])
        self.register_buffer("frequencies", 10000 ** -(torch.arange(0, width // heads, 2) * heads / width))

    def forward(self, x):
        n, length, width = x.shape
        angles = torch.outer(torch.arange(length).float(), self.frequencies)
        cos, sin = angles.cos(), angles.sin()

        def turn(v):
            a, b = v[..., ::2], v[..., 1::2]
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

        future = torch.triu(torch.full((length, length), float("-inf")), 1)
        for norm, project, out, norm2, up, down in self.layers:
            q, k, v = project(norm(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            scores = turn(q) @ turn(k).transpose(-1, -2) * (width // self.heads) ** -0.5 + future
            x = x + out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width))
            a, b = up(norm2(x)).chunk(2, -1)
            x = x + down(F.silu(a) * b)
        return x


class PointNet(nn.Module):
    """Classification of a cloud of points."""

    def __init__(self):
        super().__init__()
        layer = lambda a, b: [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU()]
        self.points = nn.Sequential(*layer(3, 64), *layer(64, 128), *layer(128, 1024))
        self.head = nn.Sequential(nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 40))

    def forward(self, x):
        return self.head(self.points(x).amax(-1))
