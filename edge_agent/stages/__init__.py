"""What happens to the readings of one channel between chip and message, a block at a time. Pure.

A block is 1..n readings in the order in which they were taken. Judging, filtering and watching carry their state from
block to block, so that a block of n gives, to the bit and in every state, what n blocks of one give. Smoothing,
reduction and features look at a whole batch.
"""
