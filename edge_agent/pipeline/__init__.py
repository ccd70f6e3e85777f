"""From measurements to records: order of the stages, batches, rules, and saved states."""
