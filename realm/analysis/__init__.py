"""Knowing a bank: what it holds, how redundant it is, and whether its errors are systematic."""
