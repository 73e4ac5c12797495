"""Kinds of perturbation, splits and designs: makes a Design, without torch."""
