"""A folder of labels in, one page of HTML out on which the catalogue can be searched, seen and heard."""
