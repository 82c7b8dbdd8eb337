"""Indexes over stored vectors, and the queries that read them."""
