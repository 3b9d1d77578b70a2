"""`anneal train`: a network on handwritten digits, by one jitted step."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import anneal
import anneal.numpy as anp
from anneal import data, device, nn, optim, random
from anneal.io.files import destination

# Lines of progress in a run.
_REPORTS = 10
# Images whose classes are predicted at once: 8 MB of activations, whatever the data set.
_EVALUATED = 1024


class Model(NamedTuple):
    """`init(key) -> params`, `apply(params, images) -> logits`, and steps that suffice."""

    init: Callable[[Any], Any]
    apply: Callable[[Any, Any], Any]
    steps: int


def _mlp_init(key: Any) -> Any:
    keys = [random.fold_in(key, i) for i in range(3)]
    sizes = ((64, 128), (128, 64), (64, 10))
    return [nn.dense_init(k, a, b) for k, (a, b) in zip(keys, sizes, strict=True)]


def _mlp(params: Any, images: Any) -> Any:
    x = anp.reshape(images, (images.shape[0], 64))
    x = nn.relu(nn.dense(params[0], x))
    x = nn.relu(nn.dense(params[1], x))
    return nn.dense(params[2], x)


def _conv_init(key: Any) -> Any:
    keys = [random.fold_in(key, i) for i in range(3)]
    return {"conv1": nn.conv_init(keys[0], 1, 16, 3), "conv2": nn.conv_init(keys[1], 16, 32, 3),
            "dense": nn.dense_init(keys[2], 32 * 16, 10)}  # fmt: skip


def _conv(params: Any, images: Any) -> Any:
    n = images.shape[0]
    x = anp.reshape(images, (n, 1, 8, 8))
    x = nn.relu(nn.conv(params["conv1"], x))
    x = nn.max_pool(nn.relu(nn.conv(params["conv2"], x)))
    return nn.dense(params["dense"], anp.reshape(x, (n, 32 * 16)))


MODELS = {"mlp": Model(_mlp_init, _mlp, 1500), "conv": Model(_conv_init, _conv, 400)}


def train(args: argparse.Namespace) -> None:
    """Trains, printing as it goes; ends with the test accuracy."""
    if args.model not in MODELS:
        known = " or ".join(MODELS)
        raise anneal.errors.AnnealError(f"train: unknown model {args.model!r}: expected {known}")
    if args.out:
        _check_writable(args.out)
    if args.device:
        with device.default_device(args.device):
            _train(args, MODELS[args.model])
    else:
        _train(args, MODELS[args.model])


def _check_writable(out: str) -> None:
    """Before the training, not after it."""
    try:
        destination(out)
    except OSError as e:
        wrong = ("is a folder" if isinstance(e, IsADirectoryError) else
                 "no such folder" if isinstance(e, FileNotFoundError) else e.strerror)  # fmt: skip
        raise anneal.errors.AnnealError(f"--out {out}: {wrong}") from None


def _train(args: argparse.Namespace, model: Model) -> None:
    import numpy as np

    split = data.load(args.data)
    batch = min(args.batch, len(split.train_labels))
    steps = args.steps or model.steps
    params = model.init(random.key(args.seed))
    optimizer = optim.adam(args.lr)
    state = optimizer.init(params)

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        return nn.cross_entropy(model.apply(params, images), labels)

    def step(params: Any, state: Any, images: Any, labels: Any) -> Any:
        loss, grads = anneal.value_and_grad(loss_of)(params, images, labels)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state, loss

    jitted = anneal.jit(step, donate_argnums=(0, 1))
    predict = anneal.jit(lambda params, images: anp.argmax(model.apply(params, images), -1))
    first = split.train_images[:batch], split.train_labels[:batch]
    _describe(loss_of, jitted, params, state, first)

    def accuracy(images: Any, labels: Any) -> float:
        right = 0
        for i in range(0, len(labels), _EVALUATED):
            part = slice(i, i + _EVALUATED)
            right += int(np.sum(np.asarray(predict(params, images[part])) == labels[part]))
        return right / len(labels)

    every = max(1, steps // _REPORTS)
    batches = _batches(len(split.train_labels), batch, args.seed)
    with _progress(steps, args.plain) as report:
        for i in range(1, steps + 1):
            chosen = next(batches)
            images, labels = split.train_images[chosen], split.train_labels[chosen]
            params, state, loss = jitted(params, state, images, labels)
            if i % every == 0 or i == 1 or i == steps:
                report(i, float(loss), accuracy(images, labels))
            else:
                report(i, None, None)
    print(f"test accuracy {accuracy(split.test_images, split.test_labels):.4f}")
    if args.out:
        from anneal.io import save_safetensors

        save_safetensors(args.out, params, {"model": args.model})
        print(f"saved {args.out}")


def _describe(loss_of: Any, jitted: Any, params: Any, state: Any, batch: Any) -> None:
    current = device.current().name
    forward = len(anneal.jit(loss_of).lower(params, *batch).kernels)
    both = len(anneal.jit(anneal.value_and_grad(loss_of)).lower(params, *batch).kernels)
    fused = len(jitted.lower(params, state, *batch).kernels)
    print(f"device {current}")
    most = device.limits().max_buffers
    where = "" if current != "interpreter" else (
        f"\n(on WebGPU with {most} storage buffers a kernel; the interpreter has no kernels)")
    counts = f"forward {forward}, with backward {both}, with the update {fused}"
    print(f"kernels a step: {counts}{where}")


def _batches(n: int, batch: int, seed: int) -> Iterator[Any]:
    """Indices of minibatches: every epoch in another order, the same for a seed."""
    import numpy as np

    rng = np.random.default_rng(seed % 2**63)
    while True:
        order = rng.permutation(n)
        for i in range(0, n - batch + 1, batch):
            yield order[i : i + batch]


Report = Callable[[int, float | None, float | None], None]


@contextmanager
def _progress(steps: int, plain: bool) -> Iterator[Report]:
    """How a step is reported: a bar on a terminal, else a line now and then."""

    def line(i: int, loss: float | None, accuracy: float | None) -> None:
        if loss is not None:
            print(f"step {i:5d}  loss {loss:.4f}  accuracy {accuracy:.3f}", flush=True)

    if plain or not sys.stdout.isatty():
        yield line
        return
    from rich import progress

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(),
               progress.MofNCompleteColumn(), progress.TimeRemainingColumn())  # fmt: skip
    with progress.Progress(*columns) as bar:
        task = bar.add_task("training", total=steps)

        def advance(i: int, loss: float | None, accuracy: float | None) -> None:
            text = None if loss is None else f"loss {loss:.4f}  accuracy {accuracy:.3f}"
            bar.update(task, completed=i, description=text)

        yield advance
