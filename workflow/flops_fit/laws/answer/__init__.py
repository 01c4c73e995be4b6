"""The answer of a study: N_opt, D_opt and L_opt at any compute, with the error of the form."""
