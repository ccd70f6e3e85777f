"""What happens to readings between chip and message: one channel, a block at a time. Pure.

A block is 1..n readings in the order in which they were taken. Every stage carries its state from block to
block, so that a block of n gives exactly what n blocks of one give.
"""
