"""One model being trained: parameters, optimiser and batches, and the state that a checkpoint holds of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainer import head, host, model
from trainer.muon import Factors, Optimiser
from trainer.ops import backpropagate
from trainer.packing import Packer
from trainer.shape import Shape
from trainer.spec import Spec
from trainer.tokens import Corpus


class Session:
    """The trainable state of a run and its one step."""

    def __init__(self, spec: Spec, shape: Shape, corpus: Corpus, device: torch.device) -> None:
        if spec.host.compile:
            torch._dynamo.reset()  # models of earlier runs count towards a limit of 8, beyond which nothing is compiled
        dtype = host.DTYPES[spec.host.precision]
        self._spec, self._dtype, self._device = spec, dtype, device
        self.parameters = model.initialise(shape, spec.seed, device)
        self.optimiser = Optimiser(self.parameters, shape, spec.config, dtype)
        self.trunk = model.trunk(shape, self.parameters, device, dtype, spec.host.compile)
        self._train, self._loss = self.trunk, head.loss_of_slice
        if spec.host.compile:
            self._train = torch.compile(self.trunk, dynamic=False, fullgraph=True)  # whole, or an error
            self._loss = torch.compile(head.loss_of_slice, dynamic=False, fullgraph=True)
        self._packer = Packer(corpus.split("train"), corpus.bos, spec.runner.sequence_length, spec.seed)
        self._slices = head.slice_rows(shape.vocab_size, device)
        self._batch: tuple[Tensor, Tensor] | None = None
        self._state_before: Tensor | None = None

    def head_weight(self) -> Tensor:
        """The head in the precision of the host, (vocabulary, width)."""
        return self.parameters["head"].detach().to(self._dtype)

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        """Token ids and targets of one device batch, each (rows, length), on their way to the device."""
        rows = np.empty((self._spec.rows, self._spec.runner.sequence_length + 1), dtype=np.int64)
        self._packer.fill(rows)
        packed = torch.from_numpy(rows)
        if self._device.type == "cuda":
            packed = packed.pin_memory().to(self._device, non_blocking=True)
        return packed[:, :-1], packed[:, 1:]

    def step(self, now: Factors) -> Tensor:
        """One step over all its device batches; the mean loss in nats a token, still on the device.

        The next device batch is packed and sent while the device works on this one.
        """
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        weight = self.head_weight()
        batch_tokens = self._spec.config.batch_tokens
        for _ in range(self._spec.accumulation):
            ids, targets = self._batch or self._next_batch()
            self._batch = None
            features = self._train(ids)
            with torch.no_grad():
                loss, by_features, by_head = head.loss_and_gradients(
                    features.detach(), weight, targets.reshape(-1), 1.0 / batch_tokens, self._slices, self._loss
                )
            backpropagate(features, by_features)
            parameter = self.parameters["head"]
            parameter.grad = by_head if parameter.grad is None else parameter.grad.add_(by_head)
            total += loss
            if self._device.type == "cuda":
                self._prefetch()
        self.optimiser.step(now)
        return total / batch_tokens

    def _prefetch(self) -> None:
        self._state_before = torch.from_numpy(self._packer.state())
        self._batch = self._next_batch()

    def state(self) -> dict[str, Tensor]:
        """All tensors that the run's future depends on, a prefetched batch counted as not yet drawn."""
        drawn = self._state_before if self._batch is not None else None
        packer = torch.from_numpy(self._packer.state()) if drawn is None else drawn
        weights = {f"weight.{name}": value.detach() for name, value in self.parameters.items()}
        moments = {f"moment.{name}": value for name, value in self.optimiser.state.items()}
        return {**weights, **moments, "packer": packer}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Takes all of `state` back; `KeyError` or `ValueError`, and nothing taken, where it is of another model."""
        mine = self.state()
        for name, value in mine.items():
            if name != "packer" and state[name].shape != value.shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}, expected {tuple(value.shape)}")
        self._packer.restore(state["packer"].numpy())
        for name, value in mine.items():
            if name != "packer":
                value.copy_(state[name])
        self._batch = None
