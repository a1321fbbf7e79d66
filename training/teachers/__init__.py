"""What a training learns beside its labels: from networks that were trained elsewhere, on any music."""
