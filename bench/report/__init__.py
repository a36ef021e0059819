"""Tables that people read, from scores. No torch."""
