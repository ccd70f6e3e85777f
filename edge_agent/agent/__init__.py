"""The gateway at work. Read `agent.py` first: it puts all parts together."""
