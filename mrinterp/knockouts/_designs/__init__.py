"""Experiments made of knockouts: doses, pairs, sets, orders, rescues, direct effects."""
