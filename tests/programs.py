"""Programs whose kernels are counted and whose results are compared: tests and docs/fusion.md."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import anneal
import anneal.numpy as anp
from anneal import nn, optim, tree
from anneal.optim.transformations import EmptyState, ScaleByAdamState


class Program(NamedTuple):
    """A function, its arguments, the most kernels it may take, and what bounds that number."""

    name: str
    ceiling: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    bound: str


def run(function: Callable[..., Any], args: Any, device: str) -> list[Any]:
    """The leaves of the results of the jitted function."""
    with anneal.default_device(device):
        return [np.asarray(v) for v in tree.leaves(anneal.jit(function)(*args))]


def close(got: list[Any], want: list[Any], tolerance: float = 2e-3) -> None:
    """Within `tolerance` of each value, and a tenth of it of the greatest."""
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        sizes = np.abs(w.astype(np.float64))
        scale = max(1.0, sizes[np.isfinite(sizes)].max(initial=0))
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=0.1 * tolerance * scale)


def agree(function: Callable[..., Any], *args: Any, tolerance: float = 2e-3) -> None:
    """WebGPU and the interpreter give the same."""
    close(run(function, args, "webgpu"), run(function, args, "interpreter"), tolerance)


_rng = np.random.default_rng(0)


def normal(*shape: int, scale: float = 1.0) -> Any:
    return (_rng.standard_normal(shape) * scale).astype(np.float32)


def layer_norm(p: Any, x: Any) -> Any:
    d = x - x.mean(-1, keepdims=True)
    return d / anp.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * p[0] + p[1]


def rms_norm(gain: Any, x: Any) -> Any:
    return x / anp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * gain


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(-1) / anp.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def mlp(params: Any, x: Any) -> Any:
    for w, b in params[:-1]:
        x = nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def mlp_params(*sizes: int) -> Any:
    return [(normal(a, b, scale=a**-0.5), normal(b, scale=0.1))
            for a, b in zip(sizes, sizes[1:], strict=False)]  # fmt: skip


def mlp_loss(params: Any, x: Any, y: Any) -> Any:
    return nn.cross_entropy(mlp(params, x), y)


def squared_error(params: Any, x: Any, y: Any) -> Any:
    return ((mlp(params, x) - y) ** 2).mean()


def cnn_loss(p: Any, x: Any, y: Any) -> Any:
    x = nn.relu(nn.conv(p["conv1"], x))
    x = nn.max_pool(nn.relu(nn.conv(p["conv2"], x)))
    return nn.cross_entropy(nn.dense(p["dense"], x.reshape(x.shape[0], -1)), y)


def cnn_params(side: int) -> Any:
    return {"conv1": {"w": normal(16, 1, 3, 3, scale=0.3), "b": normal(16, scale=0.1)},
            "conv2": {"w": normal(32, 16, 3, 3, scale=0.1), "b": normal(32, scale=0.1)},
            "dense": {"w": normal(8 * side * side, 10, scale=0.1), "b": normal(10, scale=0.1)}}


def block(p: Any, x: Any, heads: int = 4) -> Any:
    batch, time, width = x.shape
    qkv = layer_norm(p["ln1"], x) @ p["qkv"] + p["qkv_b"]
    q, k, v = (part.reshape(batch, time, heads, width // heads).transpose(0, 2, 1, 3)
               for part in anp.split(qkv, 3, -1))  # fmt: skip
    scores = q @ k.transpose(0, 1, 3, 2) * (width // heads) ** -0.5
    causal = anp.arange(time)[:, None] >= anp.arange(time)[None, :]
    mixed = nn.softmax(anp.where(causal, scores, -1e9)) @ v
    x = x + (mixed.transpose(0, 2, 1, 3).reshape(batch, time, width) @ p["o"] + p["o_b"])
    h = nn.gelu(layer_norm(p["ln2"], x) @ p["up"] + p["up_b"])
    return x + (h @ p["down"] + p["down_b"])


def block_params(width: int) -> Any:
    def norm() -> Any:
        return normal(width, scale=0.1) + np.float32(1), normal(width, scale=0.1)

    return {"ln1": norm(), "ln2": norm(), "qkv": normal(width, 3 * width, scale=0.1),
            "qkv_b": normal(3 * width, scale=0.1), "o": normal(width, width, scale=0.1),
            "o_b": normal(width, scale=0.1), "up": normal(width, 4 * width, scale=0.1),
            "up_b": normal(4 * width, scale=0.1), "down": normal(4 * width, width, scale=0.1),
            "down_b": normal(width, scale=0.1)}  # fmt: skip


def gpt_loss(p: Any, tokens: Any, labels: Any, block: Callable[..., Any] = block) -> Any:
    x = p["embedding"][tokens] + p["position"][: tokens.shape[1]]
    for layer in p["blocks"]:
        x = block(layer, x)
    logits = layer_norm(p["ln"], x) @ p["head"]
    return nn.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def gpt_params(layers: int, width: int, time: int, vocabulary: int) -> Any:
    return {"embedding": normal(vocabulary, width, scale=0.1),
            "position": normal(time, width, scale=0.1),
            "blocks": [block_params(width) for _ in range(layers)],
            "ln": (normal(width, scale=0.1) + np.float32(1), normal(width, scale=0.1)),
            "head": normal(width, vocabulary, scale=0.1)}  # fmt: skip


def labels(classes: int, *shape: int) -> Any:
    return _rng.integers(0, classes, shape).astype(np.int32)


def sgd_step(loss: Callable[..., Any]) -> Callable[..., Any]:
    def step(params: Any, *batch: Any) -> Any:
        value, grads = anneal.value_and_grad(loss)(params, *batch)
        return tree.map(lambda p, g: p - g * 0.1, params, grads), value

    return step


def adam_step(loss: Callable[..., Any]) -> Callable[..., Any]:
    optimizer = optim.adam(1e-3)

    def step(params: Any, state: Any, *batch: Any) -> Any:
        value, grads = anneal.value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state, value

    return step


def adam_state(params: Any) -> Any:
    adam = ScaleByAdamState(np.int32(3), tree.map(lambda a: a * np.float32(0.1), params),
                            tree.map(lambda a: a * a * np.float32(0.1), params))  # fmt: skip
    return adam, EmptyState()


def adam_update(w: Any, m: Any, v: Any, g: Any) -> Any:
    m = m * 0.9 + g * 0.1
    v = v * 0.99 + g * g * 0.01
    return w - m / (anp.sqrt(v) + 1e-8) * 0.1, m, v


def small() -> list[Program]:
    """Every program in a size that takes milliseconds, for comparing results."""
    x, y = normal(64, 130), labels(50, 64)
    params = mlp_params(40, 70, 66, 10)
    batch = normal(32, 40), labels(10, 32)
    gpt = gpt_params(2, 32, 16, 50)
    tokens = labels(50, 2, 16)
    return [
        *_rows(x, y),
        Program("MLP, 3 layers, forward", 3, mlp, (params, batch[0]), ""),
        Program("MLP, squared error, value_and_grad", 8, anneal.value_and_grad(squared_error),
                (params[:1] + mlp_params(70, 10), batch[0], normal(32, 10)), ""),
        Program("MLP SGD step", 10, sgd_step(mlp_loss), (params, *batch), ""),
        Program("MLP Adam step", 10, adam_step(mlp_loss), (params, adam_state(params), *batch), ""),
        Program("CNN SGD step", 16, sgd_step(cnn_loss),
                (cnn_params(8), normal(8, 1, 8, 8), labels(10, 8)), ""),
        Program("GPT block, forward", 10, block, (block_params(32), normal(2, 16, 32)), ""),
        Program("GPT, 2 layers, Adam step", 120, adam_step(gpt_loss),
                (gpt, adam_state(gpt), tokens, labels(50, 2, 16)), ""),
        Program("the same, its blocks computed again", 120,
                adam_step(functools.partial(gpt_loss, block=anneal.checkpoint(block))),
                (gpt, adam_state(gpt), tokens, labels(50, 2, 16)), ""),
        Program("momentum step", 10, sgd_step(squared_error),
                (mlp_params(20, 30, 4), normal(16, 20), normal(16, 4)), ""),
    ]  # fmt: skip


def _rows(x: Any, y: Any) -> list[Program]:
    gain, bias = normal(x.shape[1]), normal(x.shape[1])
    one = "a row in one pass or more"
    return [
        Program("softmax", 1, nn.softmax, (x,), one),
        Program("log-softmax", 1, nn.log_softmax, (x,), one),
        Program("softmax of the first axis", 1, lambda x: nn.softmax(x, 0), (x,), one),
        Program("softmax, three axes", 1, nn.softmax, (x.reshape(4, -1, x.shape[1]),), one),
        Program("layer norm", 1, layer_norm, ((gain, bias), x), one),
        Program("RMS norm", 1, rms_norm, (gain, x), one),
        Program("x - mean(x)", 1, lambda x: x - x.mean(-1, keepdims=True), (x,), one),
        Program("standardise", 1, lambda x: (x - x.mean(-1, keepdims=True))
                / x.std(-1, keepdims=True), (x,), one),
        Program("cosine similarity", 1, cosine, (x, x[::-1].copy()), one),
        Program("row argmax", 1, lambda x: anp.argmax(x, -1), (x,), one),
        Program("cross-entropy, value_and_grad", 2, anneal.value_and_grad(nn.cross_entropy), (x, y),
                "rows, and the mean over rows"),
        Program("layer norm, backward", 3,
                anneal.grad(lambda p, x, g: (layer_norm(p, x) * g).sum(), argnums=(0, 1)),
                ((gain, bias), x, x[::-1].copy()), "rows for dx, columns for dgamma and dbeta"),
        Program("Adam update of one parameter", 1, adam_update, (x, x, x * x, x),
                "one pass, three results"),
        Program("matmul, bias, relu", 1, lambda x, w, b: nn.relu(x @ w + b),
                (x, normal(x.shape[1], 70), normal(70)), "the epilogue of the product"),
        Program("convolution, bias, relu", 1, lambda p, x: nn.relu(nn.conv(p, x)),
                ({"w": normal(8, 3, 3, 3), "b": normal(8)}, normal(2, 3, 10, 10)),
                "the epilogue of the convolution"),
        Program("embedding and its gradient", 3,
                anneal.value_and_grad(lambda e, t, g: (e[t] * g).sum()),
                (normal(50, 32), y % 50, normal(len(y), 32)), "the value; the scattered gradient"),
    ]  # fmt: skip


def large() -> list[Program]:
    """The sizes that the counts are about; lowered, not run."""
    params = mlp_params(784, 512, 512, 10)
    batch = normal(128, 784), labels(10, 128)
    gpt = gpt_params(4, 128, 64, 96)
    tokens = labels(96, 8, 64)
    step = "forward, backward and update of each layer; a row of logits with its cross-entropy"
    return [
        *_rows(normal(1024, 1000), labels(1000, 1024)),
        Program("MLP 784-512-512-10, forward", 3, mlp, (params, batch[0]), "a product each"),
        Program("its loss and all gradients, SGD", 10, sgd_step(mlp_loss), (params, *batch), step),
        Program("the same with Adam", 10, adam_step(mlp_loss),
                (params, adam_state(params), *batch), step),
        Program("CNN, SGD step", 16, sgd_step(cnn_loss),
                (cnn_params(28), normal(64, 1, 28, 28), labels(10, 64)), step),
        Program("GPT block, forward", 10, block, (block_params(128), normal(8, 64, 128)),
                "products, and rows between them"),
        Program("GPT, 4 layers, Adam step", 120, adam_step(gpt_loss),
                (gpt, adam_state(gpt), tokens, labels(96, 8, 64)), step),
    ]  # fmt: skip
