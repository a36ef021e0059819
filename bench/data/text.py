"""Text as tokens: one per byte, numbered within the bytes that occur."""

import numpy as np

from bench.data.source import Decoded, SplitName


def tokenize(texts: dict[SplitName, bytes]) -> Decoded:
    """Return the splits as tokens over one compact vocabulary.

    A token is a byte, so nats per token are nats per byte, whatever the vocabulary leaves out.

    Args:
        texts: UTF-8. The vocabulary is what occurs in any of them.
    """
    occurring = sorted(set().union(*texts.values()))
    table = bytearray(256)
    for token, byte in enumerate(occurring):
        table[byte] = token
    vocabulary = np.array(occurring, dtype=np.uint8)
    return {
        split: {
            "tokens": np.frombuffer(text.translate(table), dtype=np.uint8),
            "vocabulary": vocabulary,
        }
        for split, text in texts.items()
    }
