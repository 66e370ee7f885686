"""A model of cost on paper: what rounds of a deployment take, held against what was measured."""
