"""The search: several algorithms over genomes, asked and told together or one by one; fronts and their hypervolume."""
