"""The state of a trainer, as bytes and back: all that the next step depends on."""

import io
import random
from typing import Any

import numpy as np
import torch

from bench.device import random_states, restore_random_states
from bench.errors import BenchError
from bench.submission import Submission
from bench.task import Task


def capture(task: Task, submission: Submission, steps: int) -> bytes:
    """Return the state between two steps, of plain containers, numbers and tensors.

    Args:
        task: model, data, knobs and random numbers.
        submission: whatever it keeps.
        steps: made so far.

    Raises:
        Exception: whatever the submission's `state_dict` raises, or an error of `torch.load` if it
            returned anything else.
    """
    numpy_state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = numpy_state
    version, words, gauss_next = random.getstate()
    state = {
        "model": task.model.state_dict(),
        "submission": submission.state_dict(),
        "data": task.data.state_dict(),
        "knobs": task.knobs,
        "steps": steps,
        "worked": [task.forward_examples, task.backward_examples],
        "torch": random_states(task.device),
        "task": task.rng.get_state(),
        "numpy": [str(name), keys.tolist(), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(words), gauss_next],
    }
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    torch.load(file, weights_only=True)
    return file.getvalue()


def restore(data: bytes, task: Task, submission: Submission) -> int:
    """Go on from a state; returns the steps made.

    Args:
        data: of `capture`; read without unpickling.
        task: as it was built.
        submission: as it was built.

    Raises:
        BenchError: if it is not this submission's, or lacks what this one looks for.
    """
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    task.model.load_state_dict(state["model"])
    try:
        submission.load_state_dict(state["submission"])
    except KeyError as error:
        message = f"{type(submission).__name__} found no {error} in the state"
        raise BenchError(message, "restore what this one has saved, or start afresh") from error
    task.data.load_state_dict(state["data"])
    for name, value in state["knobs"].items():
        task.turn(name, value)
    task.forward_examples, task.backward_examples = state["worked"]
    restore_random_states(state["torch"], task.device)
    task.rng.set_state(state["task"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
    steps: int = state["steps"]
    return steps
