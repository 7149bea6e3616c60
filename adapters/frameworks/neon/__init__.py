"""neon 2.6.0, NervanaSystems' framework of the study, from a checkout that the user has."""
