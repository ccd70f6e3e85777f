"""The other end: stores records exactly once, and confirms them. Knows the wire, and nothing of the agent.

`docs/confirmation.md` is the public protocol; others may write receivers.
"""
