"""Dialects: topics and messages of one MQTT convention each. The configuration selects one."""
