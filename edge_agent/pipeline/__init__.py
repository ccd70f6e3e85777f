"""From measurements to records: the order of the stages, batches, rules, and what a restart need not learn anew."""
