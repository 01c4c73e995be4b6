"""Figures of a fit, one module each.

Lines that carry data have a group id (`Line2D.get_gid`), which becomes the element's id in the
SVG: `profile-<i>-points`, `optimum-<approach>-N_opt-law`, and so on.
"""
