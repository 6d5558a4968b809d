"""Published constants. Those of different laws cannot be mixed: tokenizers, text and the count of N differ."""

from math import exp

from star.laws.chinchilla import Chinchilla
from star.laws.experts import Granular, Joint
from star.laws.kaplan import Kaplan, PowerLaw
from star.laws.repetition import DataConstrained

HOFFMANN = Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)  # arXiv:2203.15556, as printed
# The same fit with the digits of the paper's TeX source; the printed ones move the optimum.
HOFFMANN_EXACT = Chinchilla(E=exp(0.5267228), A=exp(6.0073404), B=exp(6.0179186), alpha=0.33917084, beta=0.2849083)
BESIROGLU = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # arXiv:2404.10102: use this one
# Of C4, with alpha = beta (arXiv:2305.16264 and its notebook).
MUENNIGHOFF = DataConstrained(
    E=exp(0.6254804),
    A=exp(6.255414),
    B=exp(7.3049974),
    alpha=0.3526596,
    beta=0.3526596,
    R_N=5.309743,
    R_D=15.387756,
)
KAPLAN = Kaplan(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)  # arXiv:2001.08361, table 2
KAPLAN_OF_PARAMS = PowerLaw(8.8e13, 0.076)  # non-embedding parameters
KAPLAN_OF_TOKENS = PowerLaw(5.4e13, 0.095)
KAPLAN_OF_COMPUTE = PowerLaw(3.1e8, 0.050)  # PF-days at the best size and batch
LUDZIEJEWSKI = Joint(
    a=35.91, delta=-0.2285, alpha=-0.1889, gamma=0.0098, b=35.98, omega=0.5529, beta=-0.1775, zeta=-0.0259, c=1.3637
)
KRAJEWSKI = Granular(g=2.1, a=18.1, b=30.8, c=0.47, gamma=0.58, alpha=0.115, beta=0.147)  # 64 times the parameters

PUBLISHED = {
    "besiroglu": BESIROGLU,
    "hoffmann": HOFFMANN,
    "hoffmann-exact": HOFFMANN_EXACT,
    "muennighoff": MUENNIGHOFF.once,
}
