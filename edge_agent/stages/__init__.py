"""Processing of the readings of one channel between chip and message, block by block. Pure.

A block is 1..n readings in the order in which they were taken. Validator, filters and detectors keep their state from
block to block: a block of n gives, to the bit and in every state, what n blocks of one give. Smoothing, reduction and
features work on a whole batch.
"""
