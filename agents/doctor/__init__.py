"""Whether this machine is fit to measure, and what to change; nothing is changed here."""
