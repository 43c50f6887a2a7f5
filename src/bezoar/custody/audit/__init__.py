"""The audit of a dataset: its books, the policy that it is held to, and the auditor's statement."""
