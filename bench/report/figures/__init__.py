"""Figures as inline SVG: a function each, from plain numbers to an element. No torch."""
