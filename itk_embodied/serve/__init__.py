"""``itk-embodied serve``: the service as a program, with its configuration, log and metrics; and the keys it uses."""
